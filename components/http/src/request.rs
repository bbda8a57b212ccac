//! Request heads: from private bytes to a [`Request`].

use core::fmt;

use httparse::{Error, Header};

use crate::framing::{Framing, Refusal};
use crate::limits::{Limits, MAX_FIELDS};
use crate::response::Status;
use crate::target::{BadTarget, Target, is_authority};

/// A parsed request, without its body.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The decoded, normalised path. It begins with `/`; no segment is `.` or `..`. For the target
    /// `*` it is `*`.
    pub path: &'a str,
    /// What the route's `*` stands for; empty for a route without one.
    pub rest: &'a str,
    /// What follows the first `?`, not decoded.
    pub query: Option<&'a str>,
    /// The authority that the client named: that of the target, or otherwise of `Host`. Empty or
    /// absent if the client named none.
    pub host: Option<&'a str>,
    /// The request's target as received.
    pub target: &'a str,
    fields: &'a [Header<'a>],
}

/// The methods of RFC 9110, section 9, and RFC 5789.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the methods")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

/// The protocol version of a request. Later 1.x versions are taken as 1.1 (RFC 9110, section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl<'a> Request<'a> {
    /// The value of the first field of this name (in any case), without surrounding white space.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        values(self.fields, name).next()
    }

    /// The values of all fields of this name (in any case), in order.
    pub fn fields<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        values(self.fields, name)
    }

    pub(crate) fn at_route<'b>(&'b self, rest: &'b str) -> Request<'b> {
        Request { rest, ..*self }
    }
}

impl Method {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "PATCH" => Self::Patch,
            _ => return None,
        })
    }

    /// Returns the method as it is written in a request line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Version {
    /// Returns the version as it is written in a request line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// Parses a complete head (it ends with an empty line) and hands the request over. A parse error is
/// the response's status; the connection cannot be kept after it, because where the next request
/// begins is not known.
///
/// `head` is private memory; it is changed only to read HTTP/1.2 to 1.9 as HTTP/1.1.
pub(crate) fn with_request<R>(
    head: &mut [u8],
    limits: &Limits,
    then: impl FnOnce(&Request<'_>, Framing) -> R,
) -> Result<R, Refusal> {
    let line = check_line(head, limits)?;
    lower_version(&mut head[..line])?;
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refusal::BAD),
        Err(Error::TooManyHeaders) => return Err(Refusal(Status::FIELDS_TOO_LARGE)),
        Err(_) => return Err(Refusal::BAD),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::BAD);
    };
    let version = match minor {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let fields: &[Header<'_>] = parsed.headers;
    let framing = Framing::new(version, fields)?;
    let method = Method::parse(method).ok_or(Refusal(Status::NOT_IMPLEMENTED))?;
    let written = target;
    let target = Target::parse(written, method == Method::Connect)?;
    let host = check_host(version, fields, &target)?;
    let (path, query) = match &target {
        Target::Path { path, query, .. } => (path.as_ref(), *query),
        Target::Asterisk if method == Method::Options => ("*", None),
        Target::Asterisk => return Err(Refusal::BAD),
        Target::Authority => return Err(Refusal(Status::NOT_IMPLEMENTED)),
    };
    let request = Request {
        method,
        version,
        path,
        rest: "",
        query,
        host,
        target: written,
        fields,
    };
    Ok(then(&request, framing))
}

pub(crate) fn values<'a, 'n>(
    fields: &'a [Header<'a>],
    name: &'n str,
) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value.trim_ascii())
}

/// Returns the elements of a list of tokens, without empty ones (RFC 9110, section 5.6.1.2).
pub(crate) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The request line's length with its line break, if it is not too long.
fn check_line(head: &[u8], limits: &Limits) -> Result<usize, Refusal> {
    let line = head.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
    match line {
        Some(line) if line <= limits.line => Ok(line),
        Some(_) => Err(Refusal(Status::URI_TOO_LONG)),
        None => Err(Refusal::BAD),
    }
}

/// The parser knows 1.0 and 1.1 only: other 1.x are made 1.1, other majors are 505.
fn lower_version(line: &mut [u8]) -> Result<(), Refusal> {
    let Some(
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major,
            b'.',
            minor,
            b'\r',
            b'\n',
        ],
    ) = line.last_chunk_mut::<10>()
    else {
        return Err(Refusal::BAD);
    };
    match (*major, *minor) {
        (b'1', b'0' | b'1') => Ok(()),
        (b'1', b'2'..=b'9') => {
            *minor = b'1';
            Ok(())
        }
        (b'0'..=b'9', b'0'..=b'9') => Err(Refusal(Status::VERSION_NOT_SUPPORTED)),
        _ => Err(Refusal::BAD),
    }
}

/// Checks `Host`. RFC 9112, section 3.2: HTTP/1.1 needs exactly one valid `Host`. An absolute
/// target's authority replaces the field's value, but the field must still be present. Returns the
/// effective authority.
fn check_host<'a>(
    version: Version,
    fields: &'a [Header<'a>],
    target: &Target<'a>,
) -> Result<Option<&'a str>, Refusal> {
    let mut hosts = values(fields, "host");
    let host = hosts.next();
    if hosts.next().is_some() || (host.is_none() && version == Version::Http11) {
        return Err(Refusal::BAD);
    }
    let authority = match target {
        Target::Path { authority, .. } => *authority,
        _ => None,
    };
    match host.map(core::str::from_utf8) {
        Some(Ok(_)) if authority.is_some() => Ok(authority),
        Some(Ok(host)) if is_authority(host) => Ok(Some(host)),
        None => Ok(authority),
        Some(_) => Err(Refusal::BAD),
    }
}

impl From<BadTarget> for Refusal {
    fn from(_: BadTarget) -> Self {
        Refusal::BAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn parse(text: &str) -> Result<(Method, Version, String), u16> {
        let mut head = text.as_bytes().to_vec();
        with_request(&mut head, &Limits::default(), |request, _| {
            (request.method, request.version, request.path.to_string())
        })
        .map_err(|refusal| refusal.0.code())
    }

    #[test]
    fn lines_and_versions() {
        let get = |line: &str| parse(&std::format!("{line}\r\nHost: h\r\n\r\n"));
        assert_eq!(
            get("GET /a HTTP/1.1"),
            Ok((Method::Get, Version::Http11, "/a".into()))
        );
        assert_eq!(get("HEAD / HTTP/1.0").map(|r| r.1), Ok(Version::Http10));
        assert_eq!(get("GET / HTTP/1.7").map(|r| r.1), Ok(Version::Http11));
        for (line, status) in [
            ("GET / HTTP/2.0", 505),
            ("GET / HTTP/0.9", 505),
            ("GET / HTTP/x.1", 400),
            ("GET / http/1.1", 400),
            ("GET /", 400),
            ("GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            ("BREW / HTTP/1.1", 501),
            ("get / HTTP/1.1", 501),
            ("G@T / HTTP/1.1", 400),
            ("CONNECT h:443 HTTP/1.1", 501),
            ("CONNECT / HTTP/1.1", 400),
            ("GET * HTTP/1.1", 400),
            ("GET /../a HTTP/1.1", 400),
        ] {
            assert_eq!(get(line), Err(status), "{line}");
        }
        // RFC 9112, section 3: at least 8,000 octets.
        let long = |length: usize| std::format!("GET /{} HTTP/1.1", "a".repeat(length - 1));
        assert_eq!(get(&long(8000)).map(|r| r.2.len()), Ok(8000));
        assert_eq!(get(&long(8192)).map(|r| r.2.len()), Ok(8192));
        assert_eq!(get(&long(9000)), Err(414));
    }

    #[test]
    fn host_is_required_once() {
        let with =
            |fields: &str| parse(&std::format!("GET / HTTP/1.1\r\n{fields}\r\n")).map(|_| ());
        assert_eq!(with("Host: a.example:80\r\n"), Ok(()));
        assert_eq!(with("hOST:\r\n"), Ok(()));
        assert_eq!(with(""), Err(400));
        assert_eq!(with("Host: a\r\nHost: a\r\n"), Err(400));
        assert_eq!(with("Host: a/b\r\n"), Err(400));
        assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").map(|_| ()), Ok(()));
        assert_eq!(
            parse("GET http://b/ HTTP/1.1\r\n\r\n").map(|_| ()),
            Err(400)
        );
    }

    #[test]
    fn fields_are_parsed_strictly() {
        let with = |fields: &str| parse(&std::format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        for bad in [
            "A : b\r\n",
            "A: b\r\n c\r\n",
            ": b\r\n",
            "A\r\n",
            "A: \u{0}\r\n",
        ] {
            assert_eq!(with(bad).map(|_| ()), Err(400), "{bad:?}");
        }
        assert_eq!(with(&"a: b\r\n".repeat(MAX_FIELDS)).map(|_| ()), Err(431));
        assert_eq!(with(&"a: b\r\n".repeat(MAX_FIELDS - 1)).map(|_| ()), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut head in prop::collection::vec(any::<u8>(), 0..200), end in any::<bool>()) {
            if end {
                head.extend(b" / HTTP/1.1\r\nHost: h\r\n\r\n");
            }
            let _ = with_request(&mut head, &Limits::default(), |_, _| ());
        }

        #[test]
        fn no_almost_right_bytes_panic(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
            let mut head: Vec<u8> =
                b"POST http://h/a%20b/../c?d HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".to_vec();
            for (at, byte) in changes {
                let at = usize::from(at) % head.len();
                head[at] = byte;
            }
            let _ = with_request(&mut head, &Limits::default(), |_, _| ());
        }
    }
}
