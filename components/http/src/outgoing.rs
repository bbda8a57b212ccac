//! A response on its way into the stream.

use core::fmt::{self, Write};

use crate::bundle::Bundle;
use crate::date::Date;
use crate::framing::Persistence;
use crate::response::{Body, Response};

/// A response and how much of it was written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    response: Response,
    /// The `Date` field's value, fixed so that the head stays the same when it is written in pieces.
    date: Option<u64>,
    keep: Persistence,
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
        date: Option<u64>,
        keep: Persistence,
        with_content: bool,
    ) -> Self {
        let length = response.body.length();
        let part = response.part.clone().unwrap_or(0..length);
        let (position, end) = (part.start.min(length), part.end.min(length));
        Self {
            date,
            keep,
            head_length: None,
            head_sent: 0,
            position,
            end: if with_content { end } else { position },
            content_length: end.saturating_sub(position),
            response,
        }
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.head_length == Some(self.head_sent) && self.position >= self.end
    }

    /// Writes the next bytes, as many as fit: (bytes written, bytes of them that are content).
    pub(crate) fn write(&mut self, site: Option<&Bundle<'_>>, out: &mut [u8]) -> (usize, usize) {
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
    fn write_head(&mut self, site: Option<&Bundle<'_>>, out: &mut [u8]) -> usize {
        let mut writer = Piece {
            skip: self.head_sent,
            out,
            written: 0,
            total: 0,
        };
        // `Piece` never fails, and neither do the numbers and texts written.
        let _ = self.format_head(site, &mut writer);
        let Piece { written, total, .. } = writer;
        self.head_length = Some(total);
        self.head_sent += written;
        written
    }

    fn format_head(&self, site: Option<&Bundle<'_>>, head: &mut Piece<'_>) -> fmt::Result {
        let status = self.response.status;
        write!(head, "HTTP/1.1 {} {}\r\n", status.code(), status.reason())?;
        if let Some(date) = self.date {
            write!(head, "Date: {}\r\n", Date(date))?;
        }
        head.write_str("Server: Selkie\r\n")?;
        if let (Body::File { id, .. }, Some(site)) = (&self.response.body, site)
            && let Some(file) = site.file(*id)
        {
            write!(head, "Content-Type: {}\r\n", file.media_type)?;
        }
        for (name, value) in &self.response.fields {
            write!(head, "{name}: {value}\r\n")?;
        }
        if status.has_length() {
            write!(head, "Content-Length: {}\r\n", self.content_length)?;
        }
        match self.keep {
            Persistence::Close => head.write_str("Connection: close\r\n")?,
            Persistence::Keep => {}
            Persistence::Say => head.write_str("Connection: keep-alive\r\n")?,
        }
        head.write_str("X-Content-Type-Options: nosniff\r\n\r\n")
    }

    fn write_content(&mut self, site: Option<&Bundle<'_>>, out: &mut [u8]) -> usize {
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
            Body::File { id, .. } => site
                .and_then(|site| site.file(*id))
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

impl Write for Piece<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let skipped = self.skip.saturating_sub(self.total).min(text.len());
        let rest = &text.as_bytes()[skipped..];
        let free = &mut self.out[self.written..];
        let length = rest.len().min(free.len());
        free[..length].copy_from_slice(&rest[..length]);
        self.written += length;
        self.total += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Status;
    use alloc::boxed::Box;
    use std::string::String;
    use std::vec::Vec;

    fn written(mut outgoing: Outgoing, piece: usize) -> String {
        let mut all = Vec::new();
        while !outgoing.is_sent() {
            let mut out = std::vec![0; piece];
            let (length, _) = outgoing.write(None, &mut out);
            all.extend_from_slice(&out[..length]);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn pieces_of_any_size_give_the_same_text() {
        let outgoing =
            || Outgoing::new(Response::text("hello\n"), Some(0), Persistence::Close, true);
        let whole = written(outgoing(), 4096);
        assert_eq!(
            whole,
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: Selkie\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\nConnection: close\r\n\
             X-Content-Type-Options: nosniff\r\n\r\nhello\n"
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
                .ends_with("3\r\nX-Content-Type-Options: nosniff\r\n\r\ncde")
        );
    }
}
