//! The access log: one line for each answered request.
//!
//! A line is written when the response begins, from data that is in memory then; nothing is kept
//! for it while the response is sent. Its size field is therefore the size of the content that will
//! be sent if the client stays connected. For a request with a body, the fields of the line are
//! kept until the body has been received.
//!
//! Text from the client is escaped: a line is printable ASCII without line breaks, and a text
//! cannot contain an unescaped quotation mark. Long texts are cut and then end in `...`.

use alloc::boxed::Box;
use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::budget::{Budget, Share};
use crate::date;
use crate::request::Request;
use crate::response::Status;

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The Combined Log Format of NCSA and Apache. Escaped bytes are written as `\xHH`, as in
    /// nginx.
    Combined,
    /// A JSON object. Escaped bytes are written as `\u00HH`.
    Json,
}

/// The destination of the lines, and their rate limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccessLog {
    format: LogFormat,
    sink: fn(&str),
    /// The maximum number of lines per second.
    rate: u32,
    /// The second that `written` counts.
    second: u64,
    written: u32,
    left_out: u64,
}

/// The fields of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered<'a> {
    /// Seconds since 1970-01-01 00:00:00 UTC, if the time is known.
    pub(crate) time: Option<u64>,
    pub(crate) client: Option<IpAddr>,
    /// The name in the client's certificate.
    pub(crate) user: Option<&'a str>,
    /// `None` for bytes that are not a request, or for a request that came too late.
    pub(crate) request: Option<Asked<'a>>,
    pub(crate) status: Status,
    /// Content length in bytes.
    pub(crate) size: u64,
}

/// The fields of a line that come from the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    method: &'static str,
    target: &'a [u8],
    version: &'static str,
    referer: Option<&'a [u8]>,
    agent: Option<&'a [u8]>,
}

/// The maximum length of the target in a line, in escaped bytes.
const MAX_TARGET: usize = 400;
const MAX_REFERER: usize = 140;
const MAX_AGENT: usize = 160;
const MAX_USER: usize = 80;

/// Length of the longest line in bytes: the texts, and less than 220 for all other fields.
const MAX_LINE: usize = MAX_TARGET + MAX_REFERER + MAX_AGENT + MAX_USER + 220;

impl<'a> Asked<'a> {
    pub(crate) fn new(request: &Request<'a>) -> Self {
        Self {
            method: request.method.name(),
            target: request.target.as_bytes(),
            version: request.version.name(),
            referer: request.field("referer"),
            agent: request.field("user-agent"),
        }
    }
}

/// The fields from a request whose body is still to come.
#[derive(Debug)]
pub(crate) struct Note {
    method: &'static str,
    version: &'static str,
    /// Target, referer and agent, cut to the maximum length in a line.
    texts: [Option<Box<[u8]>>; 3],
    _memory: Share,
}

impl Note {
    /// Returns `None` if there is no memory left for it.
    pub(crate) fn new(request: &Request<'_>, budget: &Budget) -> Option<Self> {
        let asked = Asked::new(request);
        let cut = |text: &[u8], most: usize| text[..text.len().min(most)].into();
        Some(Self {
            _memory: budget.take(MAX_TARGET + MAX_REFERER + MAX_AGENT)?,
            method: asked.method,
            version: asked.version,
            texts: [
                Some(cut(asked.target, MAX_TARGET)),
                asked.referer.map(|text| cut(text, MAX_REFERER)),
                asked.agent.map(|text| cut(text, MAX_AGENT)),
            ],
        })
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        let [target, referer, agent] = self.texts.each_ref().map(Option::as_deref);
        Asked {
            method: self.method,
            target: target.unwrap_or_default(),
            version: self.version,
            referer,
            agent,
        }
    }
}

impl AccessLog {
    pub(crate) fn new(format: LogFormat, rate: u32, sink: fn(&str)) -> Self {
        Self {
            format,
            sink,
            rate,
            second: 0,
            written: 0,
            left_out: 0,
        }
    }

    /// Writes a line at `now` milliseconds, unless the limit for this second is reached.
    pub(crate) fn write(&mut self, answered: &Answered<'_>, now: u64) {
        let second = now / 1000;
        if self.second != second {
            (self.second, self.written) = (second, 0);
        }
        if self.written >= self.rate {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.written += 1;
        let left_out = core::mem::take(&mut self.left_out);
        if left_out > 0 {
            self.line(|line| match self.format {
                LogFormat::Combined => write!(line, "{left_out} requests were not logged"),
                LogFormat::Json => write!(line, "{{\"not_logged\":{left_out}}}"),
            });
        }
        self.line(|line| match self.format {
            LogFormat::Combined => combined(answered, line),
            LogFormat::Json => json(answered, line),
        });
    }

    fn line(&self, compose: impl FnOnce(&mut Line) -> fmt::Result) {
        let mut line = Line {
            bytes: [0; MAX_LINE],
            length: 0,
        };
        // Composing fails only if the line exceeds `MAX_LINE`, which is the length of the longest
        // line.
        compose(&mut line).unwrap_or_default();
        (self.sink)(line.text());
    }
}

fn combined(answered: &Answered<'_>, line: &mut Line) -> fmt::Result {
    match answered.client {
        Some(client) => write!(line, "{client} - ")?,
        None => line.write_str("- - ")?,
    }
    match answered.user {
        // An unescaped space would end the field.
        Some(user) => escape(user.as_bytes(), MAX_USER, b" ", Escape::Hexadecimal, line)?,
        None => line.write_str("-")?,
    }
    match answered.time {
        Some(time) => write!(line, " [{}]", date::Common(time))?,
        None => line.write_str(" [-]")?,
    }
    let text =
        |text: &[u8], most, line: &mut Line| escape(text, most, b"", Escape::Hexadecimal, line);
    let quoted = |value: Option<&[u8]>, most, line: &mut Line| {
        line.write_str(" \"")?;
        text(value.unwrap_or(b"-"), most, line)?;
        line.write_str("\"")
    };
    match answered.request {
        Some(asked) => {
            write!(line, " \"{} ", asked.method)?;
            text(asked.target, MAX_TARGET, line)?;
            write!(line, " {}\"", asked.version)?;
        }
        None => line.write_str(" \"-\"")?,
    }
    write!(line, " {} {}", answered.status.code(), answered.size)?;
    let (referer, agent) = answered
        .request
        .map_or((None, None), |r| (r.referer, r.agent));
    quoted(referer, MAX_REFERER, line)?;
    quoted(agent, MAX_AGENT, line)
}

fn json(answered: &Answered<'_>, line: &mut Line) -> fmt::Result {
    let text = |name: &str, value: Option<&[u8]>, most, line: &mut Line| {
        let Some(value) = value else {
            return Ok(());
        };
        write!(line, ",\"{name}\":\"")?;
        escape(value, most, b"", Escape::Unicode, line)?;
        line.write_str("\"")
    };
    write!(line, "{{\"status\":{}", answered.status.code())?;
    write!(line, ",\"size\":{}", answered.size)?;
    if let Some(time) = answered.time {
        write!(line, ",\"time\":\"{}\"", date::Iso(time))?;
    }
    if let Some(client) = answered.client {
        write!(line, ",\"client\":\"{client}\"")?;
    }
    text("user", answered.user.map(str::as_bytes), MAX_USER, line)?;
    if let Some(asked) = answered.request {
        write!(line, ",\"method\":\"{}\"", asked.method)?;
        write!(line, ",\"protocol\":\"{}\"", asked.version)?;
        text("target", Some(asked.target), MAX_TARGET, line)?;
        text("referer", asked.referer, MAX_REFERER, line)?;
        text("agent", asked.agent, MAX_AGENT, line)?;
    }
    line.write_str("}")
}

#[derive(Clone, Copy)]
enum Escape {
    /// As `\xHH`.
    Hexadecimal,
    /// As `\u00HH`.
    Unicode,
}

/// The end of a text that was cut.
const CUT: &str = "...";

/// Writes a text as at most `most` bytes. Escapes quotation marks, backslashes, the bytes in
/// `more`, and all bytes that are not printable ASCII.
fn escape(text: &[u8], most: usize, more: &[u8], how: Escape, line: &mut Line) -> fmt::Result {
    let width = match how {
        Escape::Hexadecimal => 4,
        Escape::Unicode => 6,
    };
    let is_plain = |byte: u8| {
        (byte.is_ascii_graphic() || byte == b' ')
            && !matches!(byte, b'"' | b'\\')
            && !more.contains(&byte)
    };
    let needs = |byte: u8| if is_plain(byte) { 1 } else { width };
    let mut left = most - CUT.len();
    let fits = text.iter().take_while(|byte| {
        let rest = left.checked_sub(needs(**byte));
        left = rest.unwrap_or(left);
        rest.is_some()
    });
    let fits = fits.count();
    for &byte in &text[..fits] {
        match how {
            _ if is_plain(byte) => line.write_char(char::from(byte))?,
            Escape::Hexadecimal => write!(line, "\\x{byte:02X}")?,
            Escape::Unicode => write!(line, "\\u00{byte:02x}")?,
        }
    }
    match fits < text.len() {
        true => line.write_str(CUT),
        false => Ok(()),
    }
}

/// A line that is being composed.
struct Line {
    bytes: [u8; MAX_LINE],
    length: usize,
}

impl Line {
    fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::string::{String, ToString};
    use std::vec::Vec;

    std::thread_local! {
        static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn keep(line: &str) {
        LINES.with_borrow_mut(|lines| lines.push(line.to_string()));
    }

    fn lines() -> Vec<String> {
        LINES.take()
    }

    fn asked<'a>(target: &'a [u8], referer: &'a [u8], agent: &'a [u8]) -> Asked<'a> {
        Asked {
            method: "GET",
            target,
            version: "HTTP/1.1",
            referer: Some(referer),
            agent: Some(agent),
        }
    }

    fn answered(request: Option<Asked<'_>>) -> Answered<'_> {
        Answered {
            time: Some(784_111_777),
            client: Some("2001:db8::1".parse().unwrap()),
            user: None,
            request,
            status: Status::OK,
            size: 13,
        }
    }

    fn written(format: LogFormat, answered: &Answered<'_>) -> String {
        AccessLog::new(format, 1, keep).write(answered, 5000);
        lines().pop().unwrap()
    }

    #[test]
    fn combined_lines() {
        let line = |answered| written(LogFormat::Combined, &answered);
        assert_eq!(
            line(answered(Some(asked(b"/a?b", b"https://h/", b"curl/8")))),
            "2001:db8::1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b HTTP/1.1\" 200 13 \"https://h/\" \"curl/8\""
        );
        let unknown = Answered {
            time: None,
            client: None,
            user: Some("a b"),
            status: Status::BAD_REQUEST,
            ..answered(None)
        };
        assert_eq!(line(unknown), "- - a\\x20b [-] \"-\" 400 13 \"-\" \"-\"");
        let hostile = asked(b"/", b"\" 200 0\r\n10.0.0.1", b"\xff\\");
        assert!(
            line(answered(Some(hostile)))
                .ends_with("\"\\x22 200 0\\x0D\\x0A10.0.0.1\" \"\\xFF\\x5C\"")
        );
    }

    #[test]
    fn json_lines() {
        let line = |answered| written(LogFormat::Json, &answered);
        assert_eq!(
            line(answered(Some(asked(b"/a", b"\"},{\n", b"\xe9")))),
            "{\"status\":200,\"size\":13,\"time\":\"1994-11-06T08:49:37Z\",\"client\":\"2001:db8::1\",\
             \"method\":\"GET\",\"protocol\":\"HTTP/1.1\",\"target\":\"/a\",\
             \"referer\":\"\\u0022},{\\u000a\",\"agent\":\"\\u00e9\"}"
        );
        assert!(!line(answered(None)).contains("method"));
    }

    #[test]
    fn long_texts_are_cut_and_the_line_still_ends() {
        let long = [b'a'; 9000];
        let odd = [0u8; 9000];
        let name = "n".repeat(300);
        for format in [LogFormat::Combined, LogFormat::Json] {
            for text in [&long, &odd] {
                let mut full = answered(Some(asked(text, text, text)));
                full.client = Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap());
                full.user = Some(&name);
                full.size = u64::MAX;
                let line = written(format, &full);
                assert!(line.len() <= 1000 && line.contains("..."), "{line}");
                assert!(line.ends_with(['"', '}']), "{line}");
            }
        }
        let fits = [b'a'; MAX_AGENT - CUT.len()];
        assert!(
            written(LogFormat::Json, &answered(Some(asked(b"/", b"", &fits)))).ends_with("aaa\"}")
        );
    }

    #[test]
    fn lines_above_the_rate_are_counted() {
        for (format, told) in [
            (LogFormat::Combined, "3 requests were not logged"),
            (LogFormat::Json, "{\"not_logged\":3}"),
        ] {
            let mut log = AccessLog::new(format, 2, keep);
            for now in [7000, 7001, 7002, 7500, 7999] {
                log.write(&answered(None), now);
            }
            assert_eq!(lines().len(), 2);
            log.write(&answered(None), 8000);
            let lines = lines();
            assert_eq!((lines.len(), lines[0].as_str()), (2, told));
        }
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_of_ascii(
            target in prop::collection::vec(any::<u8>(), 0..300),
            agent in prop::collection::vec(any::<u8>(), 0..300),
            user in any::<String>(),
        ) {
            let mut all = answered(Some(asked(&target, &agent, &agent)));
            all.user = Some(&user);
            let printable = |line: &str| line.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
            let line = written(LogFormat::Combined, &all);
            prop_assert!(printable(&line));
            prop_assert_eq!(line.matches('"').count(), 6);
            let line = written(LogFormat::Json, &all);
            prop_assert!(printable(&line));
            prop_assert_eq!(line.matches('"').count(), 36);
        }
    }
}
