//! Targets of redirects and rewrites.

use core::fmt;

use super::pattern::Parts;

/// The maximum length of a target in bytes.
const MAX_LENGTH: usize = 1024;

/// The maximum number of pieces of a target: texts, and references to wildcards. It bounds how much
/// longer than the path a target can become.
pub(crate) const MAX_PIECES: usize = 15;

/// A target with references to the texts that a pattern's wildcards matched: `$1` to `$4`; `$$` is
/// a `$`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template<'a>(&'a str);

/// The reason why a text is not a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// It is neither a path (`/…`, not `//…`) nor an `http://` or `https://` URL.
    NoTarget,
    /// It has more than 1,024 bytes.
    TooLong,
    /// It has more than 15 pieces.
    TooManyPieces,
    /// A `$` is not followed by a digit or another `$`.
    BadReference,
    /// The pattern has fewer wildcards than the number in a reference.
    NoSuchWildcard,
    /// The text of a wildcard could choose the host of the redirect.
    OpenRedirect,
    /// A character that must be percent-encoded in a URL.
    NotEncoded(char),
    /// The target of a rewrite is not a path of the site without `?`, `#` and percent-encoding.
    NoPath,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTarget => f.write_str("a target is a path (`/…`, not `//…`), or an http:// or https:// URL"),
            Self::TooLong => write!(f, "a target has at most {MAX_LENGTH} bytes"),
            Self::TooManyPieces => write!(f, "a target has at most {MAX_PIECES} pieces: texts and wildcards"),
            Self::BadReference => {
                f.write_str("`$` stands before the number of a wildcard (`$1`), or twice for itself")
            }
            Self::NoSuchWildcard => f.write_str("the pattern has no wildcard of this number"),
            Self::OpenRedirect => f.write_str(
                "whoever made the link would choose the host: a wildcard's text can only stand behind the `/` that ends it",
            ),
            Self::NotEncoded(c) => write!(f, "{c:?} must be percent-encoded in a URL"),
            Self::NoPath => f.write_str(
                "a rewrite leads to a path of the site, without `?`, `#`, `%20` or the like, `.` and `..` segments",
            ),
        }
    }
}

impl core::error::Error for TemplateError {}

/// A piece of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text of the target itself.
    Literal(&'a str),
    /// The text that a wildcard matched.
    Part(&'a str),
}

impl<'a> Template<'a> {
    /// Checks the target of a redirect for a pattern with this many wildcards.
    ///
    /// # Errors
    /// [`TemplateError`]: the reason why it is not a target.
    pub fn url(text: &'a str, wildcards: usize) -> Result<Self, TemplateError> {
        let template = Self::new(text, wildcards)?;
        let encoded = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
        if let Some(wrong) = text.chars().find(|c| !encoded(*c)) {
            return Err(TemplateError::NotEncoded(wrong));
        }
        if let Some(path) = text.strip_prefix('/') {
            return match path.starts_with('/') {
                true => Err(TemplateError::NoTarget),
                false => Ok(template),
            };
        }
        let authority = ["http://", "https://"]
            .iter()
            .find_map(|s| text.strip_prefix(s));
        let authority = authority.ok_or(TemplateError::NoTarget)?;
        let end = authority.find('/').unwrap_or(authority.len());
        match &authority[..end] {
            "" => Err(TemplateError::NoTarget),
            host if host.contains('$') => Err(TemplateError::OpenRedirect),
            host if host.contains(['?', '#', '@']) => Err(TemplateError::NoTarget),
            _ => Ok(template),
        }
    }

    /// Checks the target of a rewrite for a pattern with this many wildcards.
    ///
    /// # Errors
    /// [`TemplateError`]: the reason why it is not a target.
    pub fn path(text: &'a str, wildcards: usize) -> Result<Self, TemplateError> {
        let template = Self::new(text, wildcards)?;
        let is_dots = |segment: &str| matches!(segment, "." | "..");
        let is_odd = |c: char| c.is_control() || matches!(c, '?' | '#' | '%');
        match text.starts_with('/') && !text.contains(is_odd) && !text.split('/').any(is_dots) {
            true => Ok(template),
            false => Err(TemplateError::NoPath),
        }
    }

    /// Returns a target from a text that has been checked before.
    pub(super) fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// Checks a text with references to this many wildcards.
    fn new(text: &'a str, wildcards: usize) -> Result<Self, TemplateError> {
        if text.len() > MAX_LENGTH {
            return Err(TemplateError::TooLong);
        }
        let mut rest = text;
        while let Some((_, behind)) = rest.split_once('$') {
            let digit = behind.bytes().next().ok_or(TemplateError::BadReference)?;
            match digit {
                b'$' => {}
                b'1'..=b'9' if usize::from(digit - b'0') <= wildcards => {}
                b'0'..=b'9' => return Err(TemplateError::NoSuchWildcard),
                _ => return Err(TemplateError::BadReference),
            }
            rest = &behind[1..];
        }
        let template = Self(text);
        match template.pieces(&Parts::default()).count() > MAX_PIECES {
            true => Err(TemplateError::TooManyPieces),
            false => Ok(template),
        }
    }

    /// Returns the target as it is written.
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// Returns whether it has references to wildcards.
    pub fn has_parts(&self) -> bool {
        let mut pieces = self.pieces(&Parts::default());
        pieces.any(|piece| matches!(piece, Piece::Part(_)))
    }

    /// Returns the target's pieces, with its references replaced by these texts.
    pub fn pieces(&self, parts: &Parts<'a>) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let (mut rest, parts) = (self.0, *parts);
        core::iter::from_fn(move || {
            let Some(behind) = rest.strip_prefix('$') else {
                let end = rest.find('$').unwrap_or(rest.len());
                let (literal, more) = rest.split_at(end);
                rest = more;
                return (!literal.is_empty()).then_some(Piece::Literal(literal));
            };
            let (name, more) = behind.split_at_checked(1)?;
            rest = more;
            Some(match name.parse() {
                Ok(number) => Piece::Part(parts.get(number).unwrap_or_default()),
                Err(_) => Piece::Literal("$"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;
    use std::string::String;

    #[test]
    fn redirects() {
        for right in [
            "/",
            "/a/$1?b=$2#c",
            "https://example.org",
            "http://h:8080/$1",
            "/$$",
            "/%20",
        ] {
            assert_eq!(Template::url(right, 2), Ok(Template(right)));
        }
        for (wrong, error) in [
            ("", TemplateError::NoTarget),
            ("a", TemplateError::NoTarget),
            ("//example.org/", TemplateError::NoTarget),
            ("javascript:alert(1)", TemplateError::NoTarget),
            ("https:///a", TemplateError::NoTarget),
            ("https://user@host/", TemplateError::NoTarget),
            ("https://host?x", TemplateError::NoTarget),
            ("https://host$1/", TemplateError::OpenRedirect),
            ("https://$1/", TemplateError::OpenRedirect),
            ("$1", TemplateError::NoTarget),
            ("/$3", TemplateError::NoSuchWildcard),
            ("/$0", TemplateError::NoSuchWildcard),
            ("/$", TemplateError::BadReference),
            ("/$a", TemplateError::BadReference),
            ("/a b", TemplateError::NotEncoded(' ')),
            ("/\\evil", TemplateError::NotEncoded('\\')),
            ("/a\r\nSet-Cookie: b", TemplateError::NotEncoded('\r')),
            ("/é", TemplateError::NotEncoded('é')),
        ] {
            assert_eq!(Template::url(wrong, 2), Err(error), "{wrong}");
        }
        let many = |count| std::format!("/{}", "$1/".repeat(count));
        assert!(Template::url(&many(7), 1).is_ok());
        assert_eq!(
            Template::url(&many(8), 1),
            Err(TemplateError::TooManyPieces)
        );
        let long = std::format!("/{}", "a".repeat(MAX_LENGTH));
        assert_eq!(Template::url(&long, 0), Err(TemplateError::TooLong));
    }

    #[test]
    fn rewrites() {
        for right in ["/", "/a b/é", "/$1.html"] {
            assert_eq!(Template::path(right, 1), Ok(Template(right)));
        }
        for wrong in ["a", "/a/../b", "/a?b", "/a#", "/%20", "https://h/", "/\n"] {
            assert_eq!(
                Template::path(wrong, 1),
                Err(TemplateError::NoPath),
                "{wrong}"
            );
        }
    }

    #[test]
    fn parts_come_to_their_places() {
        let pattern = Pattern::new("/*/**").unwrap();
        let parts = pattern.matches("/a/b/c").unwrap();
        let template = Template::url("/x/$2-$$$1/$1", 2).unwrap();
        let text: String = template
            .pieces(&parts)
            .map(|piece| match piece {
                Piece::Literal(text) | Piece::Part(text) => text,
            })
            .collect();
        assert_eq!(text, "/x/b/c-$a/a");
        assert!(template.has_parts() && !Template::url("/$$1", 2).unwrap().has_parts());
    }
}
