//! Log lines of all protection domains (PDs), merged and formatted for a console.
//!
//! ```
//! use log_line::{Console, Level, Line};
//!
//! let mut console = Console::new();
//! let line = |time, source, text: &str| Line { time, level: Level::Information, source, lost: 0, text: text.into() };
//! console.push(&["nic", "tcpip"], vec![line(2_000_000_000, 1, "up"), line(1_500_000_000, 0, "link up")]);
//! assert_eq!(console.pending(), b"[    1.500000] nic: link up\n[    2.000000] tcpip: up\n");
//! ```
//!
//! What a PD writes is not trusted: control characters, with which it could forge another PD's line or
//! confuse a terminal, come out as `?`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

pub use channel::log::Level;

/// Output that waits for the serial line, in bytes, above which [`Console::has_room`] says no: about a second
/// at 38400 bit/s. More waits in the PDs' own rings, whose writers count what they lose.
const HIGH_WATER: usize = 4096;

/// Characters of a line's text that come out; longer ones are cut and marked.
const TEXT: usize = 512;

const NANOSECONDS: u64 = 1_000_000_000;

/// One line of one PD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Nanoseconds since the start, as the PD says.
    pub time: u64,
    /// How much it matters.
    pub level: Level,
    /// The PD, as an index into the names.
    pub source: usize,
    /// Lines of this PD that were lost before this one.
    pub lost: u32,
    /// The text, without a line end.
    pub text: String,
}

/// The console's output.
#[derive(Debug, Default)]
pub struct Console {
    output: Vec<u8>,
    sent: usize,
}

impl Console {
    /// An empty console.
    pub fn new() -> Self {
        Self::default()
    }

    /// A console whose output may follow somebody else's in the middle of a line: firmware's, or a console's that has faulted. It
    /// ends that line.
    pub fn after_others() -> Self {
        Self {
            output: b"\n".to_vec(),
            sent: 0,
        }
    }

    /// Whether more lines should be fetched now. They are written in any case.
    pub fn has_room(&self) -> bool {
        self.output.len() - self.sent < HIGH_WATER
    }

    /// Formats lines, in the order of their times. Lines of a source that has no name are left out.
    pub fn push(&mut self, names: &[&str], mut lines: Vec<Line>) {
        lines.sort_by_key(|line| line.time);
        self.output.drain(..core::mem::take(&mut self.sent));
        for line in &lines {
            if let Some(name) = names.get(line.source) {
                // Writing into memory does not fail.
                let _ = self.write_line(name, line);
            }
        }
    }

    /// What has to be sent.
    pub fn pending(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// Takes note that the first `bytes` of [`pending`](Self::pending) were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent = self.output.len().min(self.sent.saturating_add(bytes));
    }

    fn write_line(&mut self, name: &str, line: &Line) -> fmt::Result {
        let (seconds, fraction) = (line.time / NANOSECONDS, line.time % NANOSECONDS / 1000);
        let mut out = Output(&mut self.output);
        if line.lost > 0 {
            let plural = if line.lost == 1 { "" } else { "s" };
            writeln!(
                out,
                "[{seconds:5}.{fraction:06}] {name}: ({} line{plural} lost)",
                line.lost
            )?;
        }
        let mark = match line.level {
            Level::Error => "error: ",
            Level::Warning => "warning: ",
            Level::Information | Level::Debug => "",
        };
        write!(out, "[{seconds:5}.{fraction:06}] {name}: {mark}")?;
        for character in line.text.chars().take(TEXT) {
            out.write_char(if character.is_control() {
                '?'
            } else {
                character
            })?;
        }
        out.write_str(if line.text.chars().nth(TEXT).is_some() {
            " …\n"
        } else {
            "\n"
        })
    }
}

struct Output<'a>(&'a mut Vec<u8>);

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn line(time: u64, source: usize, text: &str) -> Line {
        Line {
            time,
            level: Level::Information,
            source,
            lost: 0,
            text: text.to_string(),
        }
    }

    fn printed(names: &[&str], lines: Vec<Line>) -> String {
        let mut console = Console::new();
        console.push(names, lines);
        String::from_utf8(console.pending().to_vec()).unwrap()
    }

    #[test]
    fn lines_come_in_the_order_of_time_and_of_each_pd() {
        let lines = vec![
            line(5_000, 0, "b"),
            line(5_000, 0, "c"),
            line(4_999, 1, "a"),
        ];
        let expected = "[    0.000004] y: a\n[    0.000005] x: b\n[    0.000005] x: c\n";
        assert_eq!(printed(&["x", "y"], lines), expected);
    }

    #[test]
    fn a_line_that_another_has_begun_is_ended() {
        let mut console = Console::after_others();
        console.push(&["x"], vec![line(0, 0, "on")]);
        assert_eq!(console.pending(), b"\n[    0.000000] x: on\n");
    }

    #[test]
    fn lost_lines_and_levels_are_said() {
        let mut warning = line(0, 0, "hot");
        warning.level = Level::Warning;
        warning.lost = 1;
        let mut error = line(1, 0, "dead");
        error.level = Level::Error;
        error.lost = 12;
        let expected = "[    0.000000] x: (1 line lost)\n[    0.000000] x: warning: hot\n\
                        [    0.000000] x: (12 lines lost)\n[    0.000000] x: error: dead\n";
        assert_eq!(printed(&["x"], vec![warning, error]), expected);
    }

    #[test]
    fn a_pd_cannot_forge_a_line_or_reach_the_terminal() {
        let text = "x\n[    0.000000] vault: fine\r\x1b[2J\u{9b}";
        let expected = "[    0.000000] x: x?[    0.000000] vault: fine??[2J?\n";
        assert_eq!(printed(&["x"], vec![line(0, 0, text)]), expected);
        assert_eq!(printed(&["x"], vec![line(0, 1, "nobody")]), "");
        assert!(printed(&["x"], vec![line(u64::MAX, 0, "late")]).contains("18446744073.709551"));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let expected = "[    0.000000] x: ".to_string() + &"ü".repeat(TEXT) + " …\n";
        assert_eq!(
            printed(&["x"], vec![line(0, 0, &"ü".repeat(TEXT + 1))]),
            expected
        );
        assert!(!printed(&["x"], vec![line(0, 0, &"ü".repeat(TEXT))]).contains('…'));
    }

    proptest! {
        /// However the serial line takes the output, it takes each byte once and in order.
        #[test]
        fn output_goes_out_in_pieces(
            texts in proptest::collection::vec("[a-z]{0,40}", 0..40),
            pieces in proptest::collection::vec(0usize..100, 0..100),
        ) {
            let mut console = Console::new();
            let (mut expected, mut sent) = (String::new(), Vec::new());
            let mut pieces = pieces.into_iter();
            for text in &texts {
                console.push(&["x"], vec![line(0, 0, text)]);
                expected += &std::format!("[    0.000000] x: {text}\n");
                if let Some(piece) = pieces.next() {
                    let piece = piece.min(console.pending().len());
                    sent.extend_from_slice(&console.pending()[..piece]);
                    console.sent(piece);
                }
            }
            sent.extend_from_slice(console.pending());
            console.sent(usize::MAX);
            prop_assert_eq!(String::from_utf8(sent).unwrap(), expected);
            prop_assert!(console.pending().is_empty() && console.has_room());
        }
    }
}
