//! Path patterns.

use core::fmt;

/// The maximum number of wildcards in a pattern.
pub const MAX_WILDCARDS: usize = 4;

/// The maximum length of a pattern in bytes.
const MAX_LENGTH: usize = 512;

/// A pattern that decoded, normalised paths are matched with. `*` matches any characters except
/// `/`, also none. `**`, which must be a whole segment, matches any number of segments. So
/// `/docs/**` matches `/docs/` and all paths below it, and `/**/*.css` matches every style sheet.
///
/// Matching takes time in proportion to the lengths of path and pattern, and no memory.
///
/// ```
/// use http::bundle::Pattern;
///
/// let pattern = Pattern::new("/blog/*/**").unwrap();
/// let parts = pattern.matches("/blog/2026/a/b.html").unwrap();
/// assert_eq!(parts.get(1), Some("2026"));
/// assert_eq!(parts.get(2), Some("a/b.html"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern<'a>(&'a str);

/// The texts that the wildcards of a pattern matched, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts<'p> {
    parts: [&'p str; MAX_WILDCARDS],
    count: usize,
}

/// The reason why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// It has more than 512 bytes.
    TooLong,
    /// A `**` is only part of its segment.
    PartOfSegment,
    /// It has more than [`MAX_WILDCARDS`] wildcards.
    TooManyWildcards,
    /// No normalised path can contain this: a `.` or `..` segment, `?`, `#`, a control character,
    /// or percent-encoding.
    NeverInPaths,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => f.write_str("a pattern begins with `/`"),
            Self::TooLong => write!(f, "a pattern has at most {MAX_LENGTH} bytes"),
            Self::PartOfSegment => {
                f.write_str("`**` is a whole segment, as in `/docs/**` or `/**/*.css`")
            }
            Self::TooManyWildcards => {
                write!(f, "a pattern has at most {MAX_WILDCARDS} wildcards")
            }
            Self::NeverInPaths => f.write_str(
                "a pattern is compared with decoded paths, which have no `?`, `#`, `%20` or the like, control \
                 characters, or `.` and `..` segments",
            ),
        }
    }
}

impl core::error::Error for PatternError {}

/// A wildcard whose match can be extended.
struct Wildcard {
    /// Place in the pattern after it.
    pattern: usize,
    /// Place in the path where its match begins.
    start: usize,
    /// Place in the path where the rest of the pattern continues.
    next: usize,
    /// Its number.
    number: usize,
}

impl<'a> Pattern<'a> {
    /// Checks a pattern.
    ///
    /// # Errors
    /// [`PatternError`]: the reason why the text is not a pattern.
    pub fn new(text: &'a str) -> Result<Self, PatternError> {
        let segments = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        if text.len() > MAX_LENGTH {
            return Err(PatternError::TooLong);
        }
        let mut wildcards = 0;
        for segment in segments.split('/') {
            let stars = segment.matches('*').count();
            match segment {
                "**" => wildcards += 1,
                _ if segment.contains("**") => return Err(PatternError::PartOfSegment),
                "." | ".." => return Err(PatternError::NeverInPaths),
                _ => wildcards += stars,
            }
        }
        if wildcards > MAX_WILDCARDS {
            return Err(PatternError::TooManyWildcards);
        }
        if text.contains(|c: char| c.is_control() || matches!(c, '?' | '#')) || has_escape(text) {
            return Err(PatternError::NeverInPaths);
        }
        Ok(Self(text))
    }

    /// Returns a pattern from a text that has been checked before.
    pub(super) fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// Returns the pattern as it is written.
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// Returns the number of its wildcards.
    pub fn wildcards(&self) -> usize {
        self.0.matches('*').count() - self.0.matches("**").count()
    }

    /// Returns the texts that the wildcards match, each as short as possible; `None` if the path
    /// does not match.
    ///
    /// Only the last `*` and the last `**` are ever extended: an earlier `*` ends at the same `/`
    /// whatever it matches, and an earlier `**` could only skip segments that the last one can skip
    /// as well.
    pub fn matches<'p>(&self, path: &'p str) -> Option<Parts<'p>> {
        let (pattern, bytes) = (self.0.as_bytes(), path.as_bytes());
        let mut spans = [(0, 0); MAX_WILDCARDS];
        let (mut at, mut place, mut number) = (0, 0, 0);
        let (mut star, mut deep): (Option<Wildcard>, Option<Wildcard>) = (None, None);
        loop {
            let wildcard = |width| Wildcard {
                pattern: at + width,
                start: place,
                next: place,
                number,
            };
            let width = match &pattern[at..] {
                b"**" => {
                    *spans.get_mut(number)? = (place, bytes.len());
                    return parts(path, &spans[..=number]);
                }
                [b'*', b'*', ..] => {
                    (star, deep) = (None, Some(wildcard("**/".len())));
                    "**/".len()
                }
                [b'*', ..] => {
                    star = Some(wildcard("*".len()));
                    "*".len()
                }
                [] if place == bytes.len() => return parts(path, &spans[..number]),
                [one, ..] if bytes.get(place) == Some(one) => {
                    at += 1;
                    place += 1;
                    continue;
                }
                _ => {
                    let end = lengthen(&mut star, &mut deep, bytes)?;
                    let longer = star.as_ref().or(deep.as_ref())?;
                    spans[longer.number] = (longer.start, end);
                    (at, place, number) = (longer.pattern, longer.next, longer.number + 1);
                    continue;
                }
            };
            *spans.get_mut(number)? = (place, place);
            number += 1;
            at += width;
        }
    }
}

/// Extends the last `*` by one byte, or, if that is not possible, the last `**` by one segment.
/// Returns the place in the path where its match ends.
fn lengthen(
    star: &mut Option<Wildcard>,
    deep: &mut Option<Wildcard>,
    path: &[u8],
) -> Option<usize> {
    if let Some(star) = star
        && path.get(star.next).is_some_and(|byte| *byte != b'/')
    {
        star.next += 1;
        return Some(star.next);
    }
    *star = None;
    let deep = deep.as_mut()?;
    let end = deep.next + path[deep.next..].iter().position(|byte| *byte == b'/')?;
    deep.next = end + 1;
    Some(end)
}

fn parts<'p>(path: &'p str, spans: &[(usize, usize)]) -> Option<Parts<'p>> {
    let mut found = Parts {
        count: spans.len(),
        ..Parts::default()
    };
    for (part, (start, end)) in found.parts.iter_mut().zip(spans) {
        *part = path.get(*start..*end)?;
    }
    Some(found)
}

impl<'p> Parts<'p> {
    /// Returns the text that the wildcard of this number matched; the first wildcard is 1.
    pub fn get(&self, number: usize) -> Option<&'p str> {
        let found = self.parts[..self.count].get(number.checked_sub(1)?);
        found.copied()
    }
}

fn has_escape(text: &str) -> bool {
    let mut windows = text.as_bytes().windows(3);
    windows.any(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    fn parts_of<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
        let parts = Pattern::new(pattern).unwrap().matches(path)?;
        Some((1..=MAX_WILDCARDS).map_while(|n| parts.get(n)).collect())
    }

    #[test]
    fn what_wildcards_stand_for() {
        let fits = [
            ("/", "/", vec![]),
            ("/a", "/a", vec![]),
            ("/*", "/", vec![""]),
            ("/*", "/a", vec!["a"]),
            ("/a*", "/abc", vec!["bc"]),
            ("/*.js", "/a.js.js", vec!["a.js"]),
            ("/*-*.css", "/a-b-c.css", vec!["a", "b-c"]),
            ("/**", "/", vec![""]),
            ("/**", "/a/b/", vec!["a/b/"]),
            ("/a/**", "/a/", vec![""]),
            ("/a/**/b", "/a/b", vec![""]),
            ("/a/**/b", "/a/x/y/b", vec!["x/y"]),
            ("/**/*.css", "/x.css", vec!["", "x"]),
            ("/**/*.css", "/a/b/x.css", vec!["a/b", "x"]),
            ("/**/a/*", "/a/a/b", vec!["a", "b"]),
            ("/**/a/**/b", "/x/a/y/b", vec!["x", "y"]),
            ("/**/a", "//a", vec![""]),
            ("/**/é*", "/ü/é€", vec!["ü", "€"]),
        ];
        for (pattern, path, expected) in fits {
            assert_eq!(parts_of(pattern, path), Some(expected), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/", "/a"),
            ("/a", "/a/"),
            ("/*", "/a/b"),
            ("/*/b", "/a/c"),
            ("/*.js", "/a/b.js"),
            ("/a/**", "/a"),
            ("/a/**", "/ab/"),
            ("/a/**/b", "/ab"),
            ("/a/**/b", "/a/xb"),
            ("/**/*.css", "/a.css/b"),
            ("/*a", "/"),
            ("/A", "/a"),
        ] {
            assert_eq!(parts_of(pattern, path), None, "{pattern} {path}");
        }
    }

    #[test]
    fn texts_that_are_no_pattern() {
        use PatternError::*;
        for (text, error) in [
            ("", NotAbsolute),
            ("a/*", NotAbsolute),
            ("/a**", PartOfSegment),
            ("/***", PartOfSegment),
            ("/*/*/*/*/*", TooManyWildcards),
            ("/a/../b", NeverInPaths),
            ("/a?b", NeverInPaths),
            ("/a#b", NeverInPaths),
            ("/a%20b", NeverInPaths),
            ("/a\r\nb", NeverInPaths),
        ] {
            assert_eq!(Pattern::new(text), Err(error), "{text}");
        }
        let long = std::format!("/{}", "a".repeat(MAX_LENGTH));
        assert_eq!(Pattern::new(&long), Err(TooLong));
        assert_eq!(Pattern::new("/100%").map(|p| p.wildcards()), Ok(0));
        assert_eq!(Pattern::new("/**/*-*").map(|p| p.wildcards()), Ok(3));
    }

    /// Matches as defined, by trying all possibilities.
    fn slow(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern, path) {
            (b"**", _) => true,
            ([b'*', b'*', b'/', rest @ ..], _) => {
                let mut ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
                slow(rest, path) || ends.any(|(end, _)| slow(rest, &path[end + 1..]))
            }
            ([b'*', rest @ ..], _) => {
                let end = path.iter().position(|byte| *byte == b'/');
                (0..=end.unwrap_or(path.len())).any(|end| slow(rest, &path[end..]))
            }
            ([one, rest @ ..], [other, path @ ..]) => one == other && slow(rest, path),
            ([], path) => path.is_empty(),
            _ => false,
        }
    }

    /// Returns the pattern with its wildcards replaced by the texts they matched; a `**` that
    /// matched nothing is removed with its slash.
    fn filled(pattern: &str, parts: &Parts<'_>) -> Vec<String> {
        let mut texts = std::vec![String::new()];
        let (mut rest, mut number) = (pattern, 0);
        while !rest.is_empty() {
            let (width, is_deep) = match rest.as_bytes() {
                [b'*', b'*', b'/', ..] => (3, true),
                [b'*', b'*'] => (2, false),
                [b'*', ..] => (1, false),
                _ => {
                    let literal = rest.find('*').unwrap_or(rest.len());
                    texts
                        .iter_mut()
                        .for_each(|text| text.push_str(&rest[..literal]));
                    rest = &rest[literal..];
                    continue;
                }
            };
            number += 1;
            let part = parts.get(number).unwrap();
            let without = texts.clone();
            texts.iter_mut().for_each(|text| text.push_str(part));
            if is_deep {
                texts.iter_mut().for_each(|text| text.push('/'));
            }
            if is_deep && part.is_empty() {
                texts.extend(without);
            }
            rest = &rest[width..];
        }
        texts
    }

    proptest! {
        #[test]
        fn all_ways_agree(pattern in "/(\\*\\*/|[ab/*]){0,6}(\\*\\*)?", path in "/[ab/]{0,10}") {
            if let Ok(valid) = Pattern::new(&pattern) {
                let found = valid.matches(&path);
                prop_assert_eq!(found.is_some(), slow(pattern.as_bytes(), path.as_bytes()));
                if let Some(parts) = found {
                    prop_assert!(filled(&pattern, &parts).contains(&path));
                }
            }
        }

        #[test]
        fn nothing_panics(pattern in any::<String>(), path in any::<String>()) {
            for text in [pattern.clone(), std::format!("/{pattern}*")] {
                if let Ok(pattern) = Pattern::new(&text) {
                    let _ = pattern.matches(&path);
                }
            }
        }
    }
}
