//! What a handler answers.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::bundle::{Coding, FileId};

/// A response: status, header fields and content. `Date`, `Content-Length`, `Connection` and the
/// framing are the connection's business.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: Status,
    pub(crate) fields: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) body: Body,
    /// The part of the body to send; all of it if absent.
    pub(crate) part: Option<Range<u64>>,
}

/// Writes the bytes of generated content from a position on.
pub type Fill = Box<dyn FnMut(u64, &mut [u8])>;

/// A response's content.
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes that are part of the program.
    Fixed(&'static [u8]),
    /// Bytes made for this response. They count towards [`crate::Limits::memory`].
    Owned(Vec<u8>),
    /// Bytes made while they are sent, `length` in all. `fill` writes the bytes from the given position
    /// on, exactly as many as the slice has; the slice is the transport's free space, so what it held
    /// before must not be used. It is never asked for bytes beyond `length`.
    Generated {
        /// Number of bytes.
        length: u64,
        /// Writes the bytes from a position on.
        fill: Fill,
    },
    /// A file of the site.
    File(Sent),
}

/// A file of the site in the form in which it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// The file whose media type and header fields are sent.
    pub(crate) file: FileId,
    /// The file whose content and entity tag are sent.
    pub(crate) content: FileId,
    /// The content coding, if any.
    pub(crate) coding: Option<Coding>,
    /// Whether other clients may get another form.
    pub(crate) varies: bool,
    /// Bytes of content.
    pub(crate) length: u64,
}

impl Response {
    /// A response without content.
    pub fn empty(status: Status) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Body::Empty,
            part: None,
        }
    }

    /// A response with content of this media type.
    pub fn new(status: Status, media_type: &'static str, body: Body) -> Self {
        let mut response = Self::empty(status).with("Content-Type", media_type);
        response.body = body;
        response
    }

    /// A file of the site. The fields that follow from the file are added when the response is sent.
    pub(crate) fn file(status: Status, sent: Sent) -> Self {
        let mut response = Self::empty(status);
        response.body = Body::File(sent);
        response
    }

    /// 200 with plain text.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::new(
            Status::OK,
            "text/plain; charset=utf-8",
            Body::Owned(text.into()),
        )
    }

    /// 200 with an HTML page.
    pub fn html(page: impl Into<Vec<u8>>) -> Self {
        Self::new(
            Status::OK,
            "text/html; charset=utf-8",
            Body::Owned(page.into()),
        )
    }

    /// 200 with JSON.
    pub fn json(text: impl Into<Vec<u8>>) -> Self {
        Self::new(Status::OK, "application/json", Body::Owned(text.into()))
    }

    /// The short plain page of an error status.
    pub fn error(status: Status) -> Self {
        let text = format!("{} {}\n", status.code(), status.reason());
        Self::text(text).with_status(status)
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// The same with one more header field. Control characters in the value become spaces, so that
    /// no value can end its line.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let mut value = value.into();
        if value.contains(|c: char| c.is_control()) {
            value = Cow::Owned(value.replace(|c: char| c.is_control(), " "));
        }
        self.fields.push((name, value));
        self
    }

    /// Its status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Gives back memory that a page was made in but does not need.
    pub(crate) fn shrink(&mut self) {
        if let Body::Owned(bytes) = &mut self.body {
            bytes.shrink_to_fit();
        }
    }

    /// Returns the number of heap bytes that the response holds until it is sent; the request
    /// determines it.
    pub(crate) fn memory(&self) -> usize {
        let body = match &self.body {
            Body::Owned(bytes) => bytes.capacity(),
            _ => 0,
        };
        let owned = self.fields.iter().map(|(_, value)| match value {
            Cow::Owned(value) => value.capacity(),
            Cow::Borrowed(_) => 0,
        });
        owned.sum::<usize>() + body
    }

    /// Returns the number of content bytes in the answer to a request; an answer to `HEAD` has
    /// none.
    pub(crate) fn content_length(&self, with_content: bool) -> u64 {
        match &self.part {
            _ if !with_content || !self.status.has_content() => 0,
            Some(part) => part.end.saturating_sub(part.start),
            None => self.body.length(),
        }
    }
}

impl Body {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Fixed(bytes) => bytes.len() as u64,
            Self::Owned(bytes) => bytes.len() as u64,
            Self::Generated { length, .. } => *length,
            Self::File(sent) => sent.length,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Empty => "Empty",
            Self::Fixed(_) => "Fixed",
            Self::Owned(_) => "Owned",
            Self::Generated { .. } => "Generated",
            Self::File(_) => "File",
        };
        write!(f, "{kind}({} bytes)", self.length())
    }
}

/// A status code (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(u16);

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!(stringify!($code), " ", $reason)]
                pub const $name: Self = Self($code);
            )*

            /// The reason phrase.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    OK = 200 "OK";
    CREATED = 201 "Created";
    ACCEPTED = 202 "Accepted";
    NO_CONTENT = 204 "No Content";
    PARTIAL_CONTENT = 206 "Partial Content";
    MOVED_PERMANENTLY = 301 "Moved Permanently";
    FOUND = 302 "Found";
    SEE_OTHER = 303 "See Other";
    NOT_MODIFIED = 304 "Not Modified";
    TEMPORARY_REDIRECT = 307 "Temporary Redirect";
    PERMANENT_REDIRECT = 308 "Permanent Redirect";
    BAD_REQUEST = 400 "Bad Request";
    FORBIDDEN = 403 "Forbidden";
    NOT_FOUND = 404 "Not Found";
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    NOT_ACCEPTABLE = 406 "Not Acceptable";
    REQUEST_TIMEOUT = 408 "Request Timeout";
    CONFLICT = 409 "Conflict";
    LENGTH_REQUIRED = 411 "Length Required";
    PRECONDITION_FAILED = 412 "Precondition Failed";
    CONTENT_TOO_LARGE = 413 "Content Too Large";
    URI_TOO_LONG = 414 "URI Too Long";
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type";
    RANGE_NOT_SATISFIABLE = 416 "Range Not Satisfiable";
    EXPECTATION_FAILED = 417 "Expectation Failed";
    UNPROCESSABLE_CONTENT = 422 "Unprocessable Content";
    TOO_MANY_REQUESTS = 429 "Too Many Requests";
    FIELDS_TOO_LARGE = 431 "Request Header Fields Too Large";
    INTERNAL_SERVER_ERROR = 500 "Internal Server Error";
    NOT_IMPLEMENTED = 501 "Not Implemented";
    SERVICE_UNAVAILABLE = 503 "Service Unavailable";
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
}

impl Status {
    /// Returns the redirect of this code; [`Status::FOUND`] for all others.
    pub(crate) fn redirect(code: u16) -> Self {
        match code {
            301..=303 | 307 | 308 => Self(code),
            _ => Self::FOUND,
        }
    }

    /// The three digits.
    pub fn code(self) -> u16 {
        self.0
    }

    /// Whether a response of this status has content and a `Content-Length` (RFC 9110, sections 6.4.1
    /// and 8.6).
    pub(crate) fn has_content(self) -> bool {
        self != Self::NO_CONTENT && self != Self::NOT_MODIFIED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_ends_its_line() {
        let response = Response::empty(Status::FOUND).with("Location", "/a\r\nSet-Cookie: b");
        assert_eq!(response.fields[0].1, "/a  Set-Cookie: b");
    }
}
