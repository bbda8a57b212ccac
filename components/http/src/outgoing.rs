//! A response on its way into the stream.

use crate::date::DateText;
use crate::framing::Persistence;
use crate::response::{Body, Response, Sent, Status};
use crate::site::Site;

/// The header field that forbids clients to guess another media type than that of `Content-Type`.
const NO_SNIFFING: &str = "\r\nX-Content-Type-Options: nosniff";

/// A response and how much of it was written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    response: Response,
    /// The `Date` field's value, fixed so that the head stays the same when it is written in pieces.
    date: Option<DateText>,
    keep: Persistence,
    /// The value of `Strict-Transport-Security`.
    transport_policy: Option<&'static str>,
    head_length: Option<usize>,
    /// Bytes written of the head.
    head_sent: usize,
    /// Position in the body of the next byte, and of the end.
    position: u64,
    end: u64,
    content_length: u64,
}

impl Outgoing {
    /// `with_content` is false in the answer to a `HEAD` request.
    pub(crate) fn new(
        response: Response,
        date: Option<DateText>,
        keep: Persistence,
        with_content: bool,
    ) -> Self {
        let length = response.body.length();
        let part = response.part.clone().unwrap_or(0..length);
        let (position, end) = (part.start.min(length), part.end.min(length));
        Self {
            date,
            keep,
            transport_policy: None,
            head_length: None,
            head_sent: 0,
            position,
            end: if with_content && response.status.has_content() {
                end
            } else {
                position
            },
            content_length: end.saturating_sub(position),
            response,
        }
    }

    /// Returns the head with this value of `Strict-Transport-Security`.
    pub(crate) fn with_transport_policy(self, policy: Option<&'static str>) -> Self {
        Self {
            transport_policy: policy,
            ..self
        }
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.head_length == Some(self.head_sent) && self.position >= self.end
    }

    /// Writes the next bytes, as many as fit: (bytes written, bytes of them that are content).
    pub(crate) fn write(&mut self, site: Site<'_>, out: &mut [u8]) -> (usize, usize) {
        let head = match self.head_length {
            Some(length) if length == self.head_sent => 0,
            _ => self.write_head(site, out),
        };
        if self.head_length != Some(self.head_sent) {
            return (head, 0);
        }
        let content = self.write_content(site, &mut out[head..]);
        (head + content, content)
    }

    /// The head is made anew for every piece: it mostly fits at once, and so needs no memory.
    fn write_head(&mut self, site: Site<'_>, out: &mut [u8]) -> usize {
        let mut head = Piece {
            skip: self.head_sent,
            out,
            written: 0,
            total: 0,
        };
        self.compose(&site, &mut head);
        let Piece { written, total, .. } = head;
        self.head_length = Some(total);
        self.head_sent += written;
        written
    }

    fn compose(&self, site: &Site<'_>, head: &mut Piece<'_>) {
        let status = self.response.status;
        head.text("HTTP/1.1 ");
        head.number(status.code().into());
        head.text(" ");
        head.text(status.reason());
        if let Some(date) = &self.date {
            head.text("\r\nDate: ");
            head.bytes(date.bytes());
        }
        head.text("\r\nServer: Selkie");
        if let Some(policy) = self.transport_policy {
            head.field("Strict-Transport-Security", policy);
        }
        match &self.response.body {
            Body::File(sent) => self.compose_file(*sent, site, head),
            _ => head.text(NO_SNIFFING),
        }
        for (name, value) in &self.response.fields {
            head.field(name, value);
        }
        if status.has_content() {
            head.text("\r\nContent-Length: ");
            head.number(self.content_length);
        }
        match self.keep {
            Persistence::Close => head.field("Connection", "close"),
            Persistence::Keep => {}
            Persistence::Say => head.field("Connection", "keep-alive"),
        }
        head.text("\r\n\r\n");
    }

    /// The fields of a file: what can be revalidated gets its tag (RFC 9110, section 15.4.5 asks for the
    /// same fields in a 304).
    fn compose_file(&self, sent: Sent, site: &Site<'_>, head: &mut Piece<'_>) {
        let file = |id| site.bundle.and_then(|bundle| bundle.file(id));
        let (Some(file), Some(content)) = (file(sent.file), file(sent.content)) else {
            return;
        };
        let status = self.response.status;
        if !file.has_own_sniffing {
            head.text(NO_SNIFFING);
        }
        if status.has_content() {
            head.field("Content-Type", file.media_type);
        }
        if let Some(policy) = site.policy.filter(|_| !file.has_own_policy) {
            head.field("Content-Security-Policy", policy);
        }
        if let Some(coding) = sent.coding.filter(|_| status.has_content()) {
            head.field("Content-Encoding", coding.token());
        }
        if sent.varies {
            head.field("Vary", "Accept-Encoding");
        }
        // A 404 is not cached for long, since the file may be added soon, whatever the cache rule
        // for the site's 404 page.
        if status == Status::NOT_FOUND {
            head.field("Cache-Control", "no-cache");
        } else {
            head.text("\r\nETag: \"");
            head.text(content.tag);
            head.text("\"");
            head.field("Cache-Control", file.cache);
            head.field("Accept-Ranges", "bytes");
        }
        head.text(file.fields);
    }

    fn write_content(&mut self, site: Site<'_>, out: &mut [u8]) -> usize {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let length = left.min(out.len());
        if length == 0 {
            return 0;
        }
        let out = &mut out[..length];
        let whole: &[u8] = match &mut self.response.body {
            Body::Generated { fill, .. } => {
                fill(self.position, out);
                self.position += length as u64;
                return length;
            }
            Body::Empty => &[],
            Body::Fixed(bytes) => bytes,
            Body::Owned(bytes) => bytes,
            Body::File(sent) => site
                .bundle
                .and_then(|bundle| bundle.file(sent.content))
                .map_or(&[], |file| file.content),
        };
        let from = usize::try_from(self.position).unwrap_or(usize::MAX);
        match whole.get(from..from.saturating_add(length)) {
            Some(bytes) => out.copy_from_slice(bytes),
            // Lengths are taken from the same bytes, so this is not reached; zeros keep the framing right.
            None => out.fill(0),
        }
        self.position += length as u64;
        length
    }
}

/// A window on a text: skips its beginning, keeps what fits, counts all.
struct Piece<'a> {
    skip: usize,
    out: &'a mut [u8],
    written: usize,
    total: usize,
}

impl Piece<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let skipped = self.skip.saturating_sub(self.total).min(bytes.len());
        let rest = &bytes[skipped..];
        let free = &mut self.out[self.written..];
        let length = rest.len().min(free.len());
        free[..length].copy_from_slice(&rest[..length]);
        self.written += length;
        self.total += bytes.len();
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn field(&mut self, name: &str, value: &str) {
        self.text("\r\n");
        self.text(name);
        self.text(": ");
        self.text(value);
    }

    fn number(&mut self, mut number: u64) {
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] += (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return self.bytes(&digits[first..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use std::string::String;
    use std::vec::Vec;

    const NOWHERE: Site<'static> = Site {
        bundle: None,
        policy: None,
    };

    fn written(mut outgoing: Outgoing, piece: usize) -> String {
        let mut all = Vec::new();
        while !outgoing.is_sent() {
            let mut out = std::vec![0; piece];
            let (length, _) = outgoing.write(NOWHERE, &mut out);
            all.extend_from_slice(&out[..length]);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn pieces_of_any_size_give_the_same_text() {
        let outgoing = || {
            Outgoing::new(
                Response::text("hello\n"),
                Some(DateText::new(0)),
                Persistence::Close,
                true,
            )
        };
        let whole = written(outgoing(), 4096);
        assert_eq!(
            whole,
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: Selkie\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 6\r\nConnection: close\r\n\r\nhello\n"
        );
        for piece in 1..whole.len() {
            assert_eq!(written(outgoing(), piece), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn head_has_the_length_but_no_content() {
        let text = written(
            Outgoing::new(Response::text("hello\n"), None, Persistence::Say, false),
            99,
        );
        assert!(text.contains("Content-Length: 6\r\n") && text.ends_with("\r\n\r\n"));
        let empty = Response::empty(Status::NOT_MODIFIED);
        assert!(
            !written(Outgoing::new(empty, None, Persistence::Keep, true), 99)
                .contains("Content-Length")
        );
    }

    #[test]
    fn a_part_of_generated_content() {
        let fill = |position: u64, out: &mut [u8]| {
            for (at, byte) in (position..).zip(out) {
                *byte = b'a' + at as u8;
            }
        };
        let body = Body::Generated {
            length: 10,
            fill: Box::new(fill),
        };
        let mut response = Response::new(Status::PARTIAL_CONTENT, "text/plain", body);
        response.part = Some(2..5);
        assert!(
            written(Outgoing::new(response, None, Persistence::Keep, true), 7)
                .ends_with("Content-Length: 3\r\n\r\ncde")
        );
    }
}
