//! Request targets (RFC 9112, section 3.2) and their paths.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Origin-form, or absolute-form with the authority that replaces `Host`.
    Path {
        path: Cow<'a, str>,
        query: Option<&'a str>,
        authority: Option<&'a str>,
    },
    /// `*`, for `OPTIONS`.
    Asterisk,
    /// `host:port`, for `CONNECT`.
    Authority,
}

/// The target is malformed: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTarget;

impl<'a> Target<'a> {
    pub(crate) fn parse(text: &'a str, connect: bool) -> Result<Self, BadTarget> {
        // Non-ASCII and control characters have to be percent-encoded; a fragment is never sent.
        if text
            .bytes()
            .any(|byte| !byte.is_ascii_graphic() || byte == b'#')
        {
            return Err(BadTarget);
        }
        if connect {
            return match is_authority(text) && text.contains(':') {
                true => Ok(Self::Authority),
                false => Err(BadTarget),
            };
        }
        if text == "*" {
            return Ok(Self::Asterisk);
        }
        let (authority, rest) = match text.starts_with('/') {
            true => (None, text),
            false => split_absolute(text)?,
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        Ok(Self::Path {
            path: normalise(path)?,
            query,
            authority,
        })
    }
}

/// Whether the text can be a `Host` value: `uri-host [":" port]` (RFC 9110, section 7.2). Names are
/// not resolved here, so only the characters are checked; user information (`@`) is refused.
pub(crate) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, ""),
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_is_fine = match inner {
        Some(address) => address
            .bytes()
            .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')),
        None => host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b)),
    };
    host_is_fine && port.bytes().all(|b| b.is_ascii_digit())
}

/// `http://host/path` as (`host`, `/path`).
fn split_absolute(text: &str) -> Result<(Option<&str>, &str), BadTarget> {
    let (scheme, rest) = text.split_once("://").ok_or(BadTarget)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(BadTarget);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || !is_authority(authority) {
        return Err(BadTarget);
    }
    Ok((Some(authority), path))
}

/// Decodes percent-encoding and removes `.` and `..` segments (RFC 3986, section 5.2.4). The result
/// begins with `/`, is UTF-8 without control characters, and no segment is `.` or `..`. A path that
/// climbs above the root is refused, and so is an encoded slash, which would make one segment two.
fn normalise(path: &str) -> Result<Cow<'_, str>, BadTarget> {
    if path.is_empty() {
        return Ok(Cow::Borrowed("/"));
    }
    if !path.contains('%') && !path.contains("/.") {
        return Ok(Cow::Borrowed(path));
    }
    let mut segments: Vec<String> = Vec::new();
    let mut rest = path
        .strip_prefix('/')
        .ok_or(BadTarget)?
        .split('/')
        .peekable();
    while let Some(segment) = rest.next() {
        let segment = decode(segment)?;
        let is_last = rest.peek().is_none();
        match segment.as_str() {
            "." => {}
            ".." => {
                segments.pop().ok_or(BadTarget)?;
            }
            _ => {
                segments.push(segment);
                continue;
            }
        }
        if is_last {
            segments.push(String::new());
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    Ok(Cow::Owned(out))
}

fn decode(segment: &str) -> Result<String, BadTarget> {
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = bytes.next().and_then(|b| char::from(b).to_digit(16));
            digit.ok_or(BadTarget)
        };
        let byte = (digit()? << 4 | digit()?) as u8;
        if byte == b'/' || byte.is_ascii_control() {
            return Err(BadTarget);
        }
        out.push(byte);
    }
    String::from_utf8(out).map_err(|_| BadTarget)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> Result<String, BadTarget> {
        match Target::parse(text, false)? {
            Target::Path { path, .. } => Ok(path.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_are_decoded_and_normalised() {
        for (text, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a%20b", "/a b"),
            ("/%c3%a9", "/é"),
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b", "/a..b"),
            ("http://h:80/x?y", "/x"),
            ("HTTPS://[::1]:443", "/"),
            ("http://h?q", "/"),
        ] {
            assert_eq!(path(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn traversal_and_nonsense_are_refused() {
        for text in [
            "/..",
            "/../etc",
            "/a/../../b",
            "/%2e%2e/a",
            "/.%2e/",
            "/a%2fb",
            "/%00",
            "/%0a",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "a",
            "ftp://h/",
            "http:///a",
            "http://u@h/",
            "/a#b",
            "/é",
            "//..%00",
        ] {
            assert_eq!(path(text), Err(BadTarget), "{text}");
        }
    }

    #[test]
    fn forms_for_one_method_only() {
        assert_eq!(Target::parse("*", false), Ok(Target::Asterisk));
        assert_eq!(Target::parse("h:443", true), Ok(Target::Authority));
        assert_eq!(Target::parse("h", true), Err(BadTarget));
        assert_eq!(Target::parse("/x", true), Err(BadTarget));
    }

    #[test]
    fn host_values() {
        for good in [
            "",
            "a.example",
            "127.0.0.1:8443",
            "[::1]",
            "[fe80::1]:80",
            "h:",
        ] {
            assert!(is_authority(good), "{good}");
        }
        for bad in ["a b", "u@h", "h:8x", "h/", "[::1", "::1", "[g]"] {
            assert!(!is_authority(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_has_no_dot_segments(text in "/[a.%2eEfF5c/]{0,40}") {
            if let Ok(path) = path(&text) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn nothing_panics(text in any::<String>(), connect in any::<bool>()) {
            let _ = Target::parse(&text, connect);
        }
    }
}
