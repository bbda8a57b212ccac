//! Printing on a debug kernel's console.

use core::fmt::{self, Write};

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(sel4::debug_put_char);
        Ok(())
    }
}

#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    if sel4::PRINTING {
        // Writing to the console cannot fail, and what `Display` returns for a value is no reason to stop.
        let _ = Console.write_fmt(arguments);
    }
}

/// Prints on a debug kernel's console; nothing when built for a release kernel.
#[macro_export]
macro_rules! debug_print {
    ($($arg:tt)*) => {
        $crate::_private::print(format_args!($($arg)*))
    };
}

/// Prints a line on a debug kernel's console; nothing when built for a release kernel.
#[macro_export]
macro_rules! debug_println {
    () => {
        $crate::debug_print!("\n")
    };
    ($($arg:tt)*) => {
        $crate::debug_print!("{}\n", format_args!($($arg)*))
    };
}
