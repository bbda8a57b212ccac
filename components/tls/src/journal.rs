//! Logs failed sessions, with limits: a peer that opens thousands of them cannot fill the log.
//!
//! The first failure of a kind is logged with the peer's address. Further ones are counted, and the
//! count is logged after a second. While they continue, the time between two such lines doubles.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::SocketAddr;

use rustls::AlertDescription;

use crate::alerts::Answer;
use crate::{Error, Report};

/// Time until the first count is logged, in nanoseconds.
const FIRST_PERIOD: u64 = 1_000_000_000;

/// Longest time between two counts, in nanoseconds.
const LAST_PERIOD: u64 = 64 * FIRST_PERIOD;

/// Kinds that are counted separately at a time; further ones are counted together.
const MAX_KINDS: usize = 16;

/// Longest text of a kind in bytes.
const MAX_TEXT: usize = 120;

/// A log of failed sessions; bounded in lines and memory.
#[derive(Debug, Default)]
pub struct Journal {
    kinds: Vec<Kind>,
}

/// A kind of failure that occurred recently.
#[derive(Debug)]
struct Kind {
    cause: Cause,
    /// The text of the first failure.
    text: String,
    /// Time at which its count is logged next (monotonic nanoseconds); `period` is the time between
    /// two counts.
    due: u64,
    period: u64,
    more: u64,
    last: SocketAddr,
}

/// The cause of a failure. Failures of the same cause are one kind, even if their texts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Handshake(Option<AlertDescription>),
    Session(Option<AlertDescription>),
    PeerAlert(AlertDescription),
    TimedOut,
    Truncated,
    /// Failures beyond [`MAX_KINDS`].
    Others,
}

impl Journal {
    /// Records a report, and logs it if it is the first of its kind for a while.
    pub fn note(
        &mut self,
        now: u64,
        peer: SocketAddr,
        report: &Report<'_>,
        write: &mut dyn FnMut(fmt::Arguments<'_>),
    ) {
        let Some(mut cause) = Cause::of(report) else {
            return;
        };
        self.kinds.retain(|kind| kind.more > 0 || kind.due > now);
        let known = |kinds: &[Kind], cause| kinds.iter().position(|kind| kind.cause == cause);
        if known(&self.kinds, cause).is_none() && self.kinds.len() >= MAX_KINDS - 1 {
            cause = Cause::Others;
        }
        match known(&self.kinds, cause) {
            Some(index) => {
                self.kinds[index].more += 1;
                self.kinds[index].last = peer;
            }
            None => {
                write(format_args!("{peer}: {report}"));
                let mut text = Text(String::new());
                // A text that does not fit is cut.
                let _ = match cause {
                    Cause::Others => text.write_str("other failures"),
                    _ => write!(text, "{report}"),
                };
                self.kinds.push(Kind {
                    cause,
                    text: text.0,
                    due: now.saturating_add(FIRST_PERIOD),
                    period: FIRST_PERIOD,
                    more: 0,
                    last: peer,
                });
            }
        }
    }

    /// Logs the counts that are due.
    pub fn expire(&mut self, now: u64, write: &mut dyn FnMut(fmt::Arguments<'_>)) {
        let counted = self.kinds.iter_mut();
        for kind in counted.filter(|kind| kind.more > 0 && kind.due <= now) {
            let Kind {
                text, more, last, ..
            } = &kind;
            let seconds = kind.period / FIRST_PERIOD;
            write(format_args!(
                "{more} more in {seconds} s, the last from {last}: {text}"
            ));
            kind.more = 0;
            kind.period = (2 * kind.period).min(LAST_PERIOD);
            kind.due = now.saturating_add(kind.period);
        }
    }

    /// Returns the time at which the next count is due, if there is one.
    pub fn deadline(&self) -> Option<u64> {
        let counted = self.kinds.iter().filter(|kind| kind.more > 0);
        counted.map(|kind| kind.due).min()
    }
}

impl Cause {
    /// Returns the cause of a failure; `None` for a success.
    fn of(report: &Report<'_>) -> Option<Self> {
        Some(match report {
            Report::Opened(_) => return None,
            Report::TimedOut => Self::TimedOut,
            Report::Truncated => Self::Truncated,
            Report::Failed(Error::PeerAlert(alert))
            | Report::Failed(Error::Handshake(rustls::Error::AlertReceived(alert))) => {
                Self::PeerAlert(*alert)
            }
            Report::Failed(error) => {
                let alert = match error.answer(None) {
                    Answer::Alert(alert) => Some(alert),
                    Answer::Own | Answer::Nothing => None,
                };
                match error {
                    Error::Record(_) => Self::Session(alert),
                    _ => Self::Handshake(alert),
                }
            }
        })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(_) => f.write_str("the handshake is complete"),
            Self::Failed(error) => error.fmt(f),
            Self::TimedOut => f.write_str("the handshake took too long"),
            Self::Truncated => f.write_str("closed without close_notify"),
        }
    }
}

/// A text that is cut at [`MAX_TEXT`] bytes.
struct Text(String);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_TEXT.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::Fault;

    const SECOND: u64 = FIRST_PERIOD;

    /// A journal and the lines that it wrote.
    #[derive(Default)]
    struct Log {
        journal: Journal,
        lines: Vec<String>,
    }

    impl Log {
        fn note(&mut self, now: u64, report: &Report<'_>) {
            let peer = ([192, 0, 2, 1], 1000 + now as u16 % 1000).into();
            let lines = &mut self.lines;
            let mut write = |line: fmt::Arguments<'_>| lines.push(line.to_string());
            self.journal.note(now, peer, report, &mut write);
        }

        fn expire(&mut self, now: u64) -> Vec<String> {
            let lines = &mut self.lines;
            let mut write = |line: fmt::Arguments<'_>| lines.push(line.to_string());
            self.journal.expire(now, &mut write);
            core::mem::take(lines)
        }
    }

    #[test]
    fn the_first_of_a_kind_is_a_line_and_the_rest_are_counted() {
        let mut log = Log::default();
        for now in 0..215 {
            log.note(now, &Report::TimedOut);
            log.note(now, &Report::Truncated);
        }
        let first = [
            "192.0.2.1:1000: the handshake took too long",
            "192.0.2.1:1000: closed without close_notify",
        ];
        assert_eq!(log.lines, first);
        log.lines.clear();
        assert_eq!(log.journal.deadline(), Some(SECOND));
        assert_eq!(log.expire(SECOND - 1), [""; 0]);
        let counts = [
            "214 more in 1 s, the last from 192.0.2.1:1214: the handshake took too long",
            "214 more in 1 s, the last from 192.0.2.1:1214: closed without close_notify",
        ];
        assert_eq!(log.expire(SECOND), counts);
        assert_eq!(log.journal.deadline(), None);
        // After two seconds without a failure, the next one is logged again.
        log.note(3 * SECOND - 1, &Report::TimedOut);
        assert_eq!(log.lines, [""; 0]);
        log.note(3 * SECOND, &Report::Truncated);
        assert_eq!(log.lines.len(), 1, "{:?}", log.lines);
    }

    #[test]
    fn a_flood_of_hours_is_some_lines() {
        let mut log = Log::default();
        let (mut lines, mut counted) = (0, 0);
        for now in 0..3600 {
            log.note(now * SECOND, &Report::TimedOut);
            log.note(now * SECOND, &Report::TimedOut);
            for line in log.expire(now * SECOND) {
                lines += 1;
                let count = line.split_once(" more in ").map(|(count, _)| count);
                counted += count.map_or(1, |count| count.parse::<u64>().unwrap());
            }
        }
        assert!(lines < 70, "{lines} lines");
        // Only the failures of the last period are not logged yet.
        assert!((7200 - 128..=7200).contains(&counted), "{counted}");
    }

    #[test]
    fn kinds_are_told_apart_up_to_a_number() {
        let mut log = Log::default();
        for alert in 0..=255u8 {
            let error = Error::PeerAlert(alert.into());
            log.note(0, &Report::Failed(&error));
            let error = Error::Handshake(rustls::Error::AlertReceived(alert.into()));
            log.note(0, &Report::Failed(&error));
        }
        assert_eq!(log.journal.kinds.len(), MAX_KINDS);
        assert_eq!(log.lines.len(), MAX_KINDS);
        let counts = log.expire(SECOND);
        let last = counts.last().unwrap();
        assert!(
            last.contains("481 more in 1 s") && last.ends_with("other failures"),
            "{last}"
        );
        // After they have expired, other kinds are counted separately.
        log.note(4 * SECOND, &Report::Failed(&Fault::Decrypt.into()));
        assert!(log.lines[0].ends_with(": a record does not decrypt"));
        assert_eq!(log.journal.kinds.len(), 1);
    }

    #[test]
    fn one_kind_has_many_texts_of_bounded_length() {
        let mut log = Log::default();
        for length in [10, 1000] {
            let text = "ä".repeat(length);
            let error = Error::Handshake(rustls::Error::General(text));
            log.note(0, &Report::Failed(&error));
            assert!(log.journal.kinds[0].text.len() <= MAX_TEXT);
        }
        assert_eq!(log.lines.len(), 1);
        let error = Error::Handshake(rustls::Error::General("x".repeat(1000)));
        let mut log = Log::default();
        log.note(0, &Report::Failed(&error));
        assert_eq!(log.journal.kinds[0].text.len(), MAX_TEXT);
        assert_eq!(vec![log.lines.len()], [1]);
    }
}
