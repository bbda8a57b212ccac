//! Log lines, and panics as log lines.

use core::fmt::{self, Write};

pub use channel::log::Level;
use channel::log::Writer;
use heapless::String;
use sel4_microkit::debug_println;

use crate::ports;
use crate::single::{Exclusive, Once};
use crate::start::monotonic;

/// Longest line in bytes; more is cut. A line is made on the stack, so that a PD without memory left can
/// still say so.
const LINE: usize = 240;

static WRITER: Once<Option<Exclusive<Writer>>> = Once::new();

/// Writes one line to the log; never blocks. Without a log port it goes to the debug kernel's console.
pub fn write(level: Level, text: fmt::Arguments<'_>) {
    let mut line = Line::default();
    let _ = line.write_fmt(text);
    match WRITER.get_or_init(|| ports::log_writer().map(Exclusive::new)) {
        Some(writer) => {
            let now = monotonic();
            writer.try_with(|writer| writer.write(level, now, &line.text));
        }
        None => debug_println!("{}", line.text),
    }
}

/// Takes note that the PD that reads the log has faulted, and is stopped: it finds in its next life what is written from here on.
pub fn reset_log_for_next_reader() {
    if let Some(Some(writer)) = WRITER.get() {
        writer.try_with(Writer::reset_for_next_reader);
    }
}

/// From here on a panic is logged before the PD faults.
pub(crate) fn set_panic_hook() {
    sel4_microkit::panicking::set_hook(&|info| write(Level::Error, format_args!("{info}")));
}

/// Text that is cut at [`LINE`] bytes instead of failing.
#[derive(Default)]
struct Line {
    text: String<LINE>,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LINE - self.text.len();
        // An index would bring the text of its panic into every program, which writes any Unicode.
        let (text, _) = text
            .split_at_checked(text.floor_char_boundary(room))
            .ok_or(fmt::Error)?;
        self.text.push_str(text).map_err(|_| fmt::Error)
    }
}
