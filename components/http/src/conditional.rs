//! Conditional and range requests for static files (RFC 9110, sections 13 and 14).

use core::ops::Range;

use crate::request::{Method, Request};

/// What to answer for a representation that exists.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Whole,
    Part(Range<u64>),
    NotModified,
    PreconditionFailed,
    Unsatisfiable,
}

/// Evaluates the preconditions in the order of RFC 9110, section 13.2.2. Dates are not compared, since
/// files have no modification date here.
pub(crate) fn select(request: &Request<'_>, tag: &str, length: u64) -> Selection {
    let matches = |name, weak| {
        let mut lists = request.fields(name).peekable();
        lists.peek()?;
        Some(lists.any(|list| list_has(list, tag.as_bytes(), weak)))
    };
    if matches("if-match", false) == Some(false) {
        return Selection::PreconditionFailed;
    }
    if matches("if-none-match", true) == Some(true) {
        return Selection::NotModified;
    }
    let unchanged = request
        .field("if-range")
        .is_none_or(|value| unquoted(value) == Some((tag.as_bytes(), &[])));
    let mut ranges = request.fields("range");
    match (ranges.next(), ranges.next()) {
        (Some(range), None) if request.method == Method::Get && unchanged => part(range, length),
        _ => Selection::Whole,
    }
}

/// Whether a list of entity tags is `*` or has this strong tag; with `weak`, weak tags in the list
/// count as well. Empty elements are ignored (RFC 9110, section 5.6.1.2). After the first malformed
/// element nothing in a list matches.
fn list_has(mut list: &[u8], tag: &[u8], weak: bool) -> bool {
    if list == b"*" {
        return true;
    }
    loop {
        list = without_empty(list);
        let after_weak = list.strip_prefix(b"W/");
        let Some((one, rest)) = unquoted(after_weak.unwrap_or(list)) else {
            return false;
        };
        if one == tag && (weak || after_weak.is_none()) {
            return true;
        }
        match rest.trim_ascii_start().strip_prefix(b",") {
            Some(more) => list = more,
            None => return false,
        }
    }
}

/// Returns the list without its leading empty elements.
fn without_empty(mut list: &[u8]) -> &[u8] {
    loop {
        list = list.trim_ascii_start();
        match list.strip_prefix(b",") {
            Some(rest) => list = rest,
            None => return list,
        }
    }
}

/// What stands between the quotes that the text begins with, and what follows them.
fn unquoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&byte| byte == b'"')?;
    Some((&inner[..end], &inner[end + 1..]))
}

/// One byte range. Several ranges and anything malformed are ignored, as RFC 9110, section 14.2 allows.
/// So are ranges of an empty file: `Content-Range` cannot describe an empty range, and a client
/// that resumes a download would treat 416 as an error (sections 14.1.2 and 14.4).
fn part(value: &[u8], length: u64) -> Selection {
    if length == 0 {
        return Selection::Whole;
    }
    let Some((first, last)) = parse_range(value) else {
        return Selection::Whole;
    };
    let range = match (first, last) {
        (Some(first), last) => {
            let end = last.unwrap_or(u64::MAX).saturating_add(1).min(length);
            first..end
        }
        (None, Some(suffix)) => length - suffix.min(length)..length,
        (None, None) => return Selection::Whole,
    };
    match range.is_empty() {
        true => Selection::Unsatisfiable,
        false => Selection::Part(range),
    }
}

fn parse_range(value: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, set) = core::str::from_utf8(value).ok()?.split_once('=')?;
    let mut ranges = set.split(',').map(str::trim).filter(|one| !one.is_empty());
    let (range, None) = (ranges.next()?, ranges.next()) else {
        return None;
    };
    let (first, last) = range.split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| match text {
        "" => Some(None),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Some(text.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    let (first, last) = (number(first)?, number(last)?);
    match (first, last) {
        (Some(first), Some(last)) if last < first => None,
        range => Some(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags() {
        let tag = b"ab";
        for (list, weak, strong) in [
            ("*", true, true),
            ("\"ab\"", true, true),
            ("W/\"ab\"", true, false),
            ("\"x,\\\" , W/\"y\",\"ab\"", true, true),
            ("\"a\", \"b\"", false, false),
            ("ab", false, false),
            ("\"ab", false, false),
            ("", false, false),
            ("\"x\", , \"ab\"", true, true),
            (",, ,\"ab\",", true, true),
            (", W/\"ab\"", true, false),
            (" , ,", false, false),
            ("\"x\" \"ab\"", false, false),
        ] {
            assert_eq!(list_has(list.as_bytes(), tag, true), weak, "{list}");
            assert_eq!(list_has(list.as_bytes(), tag, false), strong, "{list}");
        }
    }

    #[test]
    fn ranges() {
        use Selection::{Part, Unsatisfiable, Whole};
        for (value, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=2-", Part(2..10)),
            ("Bytes=2-99", Part(2..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=0-18446744073709551615", Part(0..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=99999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=3-2", Whole),
            ("bytes=-", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=,", Whole),
            ("bytes= , 2-3 ,", Part(2..4)),
            ("bytes=+1-2", Whole),
            ("lines=0-1", Whole),
            ("bytes", Whole),
        ] {
            assert_eq!(part(value.as_bytes(), 10), expected, "{value}");
        }
        for empty in ["bytes=0-", "bytes=-5", "bytes=0-0", "bytes=5-", "bytes=-0"] {
            assert_eq!(part(empty.as_bytes(), 0), Whole, "{empty}");
        }
    }
}
