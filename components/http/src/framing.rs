//! How long a request's body is, and whether the connection is kept (RFC 9112, sections 6 and 9).

use httparse::Header;

use crate::request::{Version, elements, values};
use crate::response::Status;

/// What the header section says of the message as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    pub(crate) body: BodyLength,
    pub(crate) keep: Persistence,
    pub(crate) expects_continue: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// Neither `Content-Length` nor `Transfer-Encoding`: there is no body.
    None,
    Known(u64),
    Chunked,
}

/// Whether the connection outlives the request (RFC 9112, section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    Close,
    /// HTTP/1.1, where keeping is what happens if nothing is said.
    Keep,
    /// HTTP/1.0, where the response has to say it.
    Say,
}

/// A request that is answered with this status and closes its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Status);

impl Refusal {
    pub(crate) const BAD: Self = Self(Status::BAD_REQUEST);
}

impl Framing {
    /// Everything that two HTTP implementations could read differently, and so could be used to smuggle
    /// a request past one of them, is refused: both lengths at once, any repeated length (equal or
    /// not), a coding in HTTP/1.0, and `chunked` that is not the only coding. An empty element beside
    /// `chunked` is one of these forms: RFC 9110, section 5.6.1.2, would have it ignored, but servers and
    /// proxies differ there, and no client sends it.
    pub(crate) fn new(version: Version, fields: &[Header<'_>]) -> Result<Self, Refusal> {
        Ok(Self {
            body: body_length(version, fields)?,
            keep: keep(version, fields),
            expects_continue: expects_continue(version, fields)?,
        })
    }
}

fn body_length(version: Version, fields: &[Header<'_>]) -> Result<BodyLength, Refusal> {
    let mut lengths = values(fields, "content-length");
    let mut codings = values(fields, "transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(BodyLength::None),
        (Some(_), Some(_)) => Err(Refusal::BAD),
        (Some(length), None) if lengths.next().is_none() => decimal(length).map(BodyLength::Known),
        (Some(_), None) => Err(Refusal::BAD),
        (None, Some(_)) if version == Version::Http10 => Err(Refusal::BAD),
        (None, Some(coding)) if codings.next().is_none() => match coding {
            coding if coding.eq_ignore_ascii_case(b"chunked") => Ok(BodyLength::Chunked),
            coding if ends_chunked(coding) => Err(Refusal(Status::NOT_IMPLEMENTED)),
            _ => Err(Refusal::BAD),
        },
        (None, Some(_)) => Err(Refusal::BAD),
    }
}

/// Codings that this server does not know, but of which the last is `chunked` and no other: the
/// length would be known, so it is 501 and not 400 (RFC 9112, sections 6.1 and 6.3).
fn ends_chunked(codings: &[u8]) -> bool {
    let mut names = codings.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |name: &[u8]| name.eq_ignore_ascii_case(b"chunked");
    let is_other = |name: &[u8]| !name.is_empty() && !is_chunked(name);
    names.next_back().is_some_and(is_chunked) && names.all(is_other)
}

fn decimal(digits: &[u8]) -> Result<u64, Refusal> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::BAD);
    }
    digits
        .iter()
        .try_fold(0u64, |value, digit| {
            value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        .ok_or(Refusal(Status::CONTENT_TOO_LARGE))
}

fn keep(version: Version, fields: &[Header<'_>]) -> Persistence {
    let has = |option: &[u8]| {
        values(fields, "connection")
            .flat_map(elements)
            .any(|name| name.eq_ignore_ascii_case(option))
    };
    match version {
        _ if has(b"close") => Persistence::Close,
        Version::Http11 => Persistence::Keep,
        Version::Http10 if has(b"keep-alive") => Persistence::Say,
        Version::Http10 => Persistence::Close,
    }
}

/// RFC 9110, section 10.1.1. An HTTP/1.0 client cannot expect it.
fn expects_continue(version: Version, fields: &[Header<'_>]) -> Result<bool, Refusal> {
    let mut expected = false;
    for expectation in values(fields, "expect").flat_map(elements) {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal(Status::EXPECTATION_FAILED));
        }
        expected = true;
    }
    Ok(expected && version == Version::Http11)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn framing(version: Version, fields: &[(&str, &str)]) -> Result<Framing, u16> {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        Framing::new(version, &fields).map_err(|refusal| refusal.0.code())
    }

    fn body(fields: &[(&str, &str)]) -> Result<BodyLength, u16> {
        framing(Version::Http11, fields).map(|framing| framing.body)
    }

    #[test]
    fn lengths() {
        assert_eq!(body(&[]), Ok(BodyLength::None));
        assert_eq!(body(&[("Content-Length", "0")]), Ok(BodyLength::Known(0)));
        assert_eq!(
            body(&[("content-length", " 12 ")]),
            Ok(BodyLength::Known(12))
        );
        for bad in ["", "+1", "-1", "1 2", "0x1", "5, 5", "1.0"] {
            assert_eq!(body(&[("Content-Length", bad)]), Err(400), "{bad}");
        }
        assert_eq!(
            body(&[("Content-Length", "99999999999999999999")]),
            Err(413)
        );
        assert_eq!(
            body(&[("Content-Length", "5"), ("Content-Length", "5")]),
            Err(400)
        );
    }

    #[test]
    fn smuggling_forms_are_refused() {
        let te = "Transfer-Encoding";
        assert_eq!(body(&[(te, "Chunked")]), Ok(BodyLength::Chunked));
        assert_eq!(body(&[(te, "chunked"), ("Content-Length", "5")]), Err(400));
        assert_eq!(body(&[(te, "chunked"), (te, "chunked")]), Err(400));
        assert_eq!(body(&[(te, "gzip"), (te, "chunked")]), Err(400));
        for bad in [
            "chunked, chunked",
            "gzip",
            "chunked, gzip",
            "xchunked",
            "",
            "chunked;a=b",
            "chunked,",
            ", chunked",
        ] {
            assert_eq!(body(&[(te, bad)]), Err(400), "{bad}");
        }
        assert_eq!(body(&[(te, "gzip, chunked")]), Err(501));
        assert_eq!(framing(Version::Http10, &[(te, "chunked")]), Err(400));
    }

    #[test]
    fn keeping() {
        let keep = |version, value| framing(version, &[("Connection", value)]).map(|f| f.keep);
        assert_eq!(keep(Version::Http11, "x"), Ok(Persistence::Keep));
        assert_eq!(keep(Version::Http11, "x, Close"), Ok(Persistence::Close));
        assert_eq!(keep(Version::Http11, ", ,close,"), Ok(Persistence::Close));
        assert_eq!(keep(Version::Http10, "Keep-Alive"), Ok(Persistence::Say));
        assert_eq!(keep(Version::Http10, "x"), Ok(Persistence::Close));
    }

    #[test]
    fn expectations() {
        let expect = |version, value| framing(version, &[("Expect", value)]);
        let got = |value| expect(Version::Http11, value).map(|f| f.expects_continue);
        assert_eq!(got("100-Continue"), Ok(true));
        assert_eq!(got("200-ok"), Err(417));
        assert_eq!(got(", 100-continue,"), Ok(true));
        assert_eq!(got("100-continue, 100-continue"), Ok(true));
        assert_eq!(got(" ,"), Ok(false));
        assert_eq!(got("100-continue, 200-ok"), Err(417));
        let old = expect(Version::Http10, "100-continue").map(|f| f.expects_continue);
        assert_eq!(old, Ok(false));
    }
}
