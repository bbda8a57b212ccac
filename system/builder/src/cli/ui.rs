//! What a person sees while the tool works.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the moving line moves.
const TICK: Duration = Duration::from_millis(120);

/// Says what happens: a moving line on a terminal, plain lines elsewhere.
#[derive(Debug)]
pub struct Ui {
    terminal: bool,
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

impl Ui {
    /// For this process's standard error.
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Whether a person watches.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// A result, on standard output. A reader that has gone away is no failure of ours.
    pub fn result(&self, line: impl AsRef<str>) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{}", line.as_ref()).and_then(|()| out.flush());
    }

    /// Something worth a line of its own, on standard error.
    pub fn say(&self, line: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
    }

    /// A failure with its causes.
    pub fn error(&self, error: &anyhow::Error) {
        let mark = if self.terminal {
            "\u{1b}[1;31merror\u{1b}[0m"
        } else {
            "error"
        };
        self.say(format!("{mark}: {error}"));
        for cause in error.chain().skip(1) {
            self.say(format!("  because: {cause}"));
        }
    }

    /// Begins a piece of work that takes a while.
    pub fn step(&self, title: impl Into<String>) -> Step {
        let title = title.into();
        let bar = if self.terminal {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is a constant of ours.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {wide_msg:.dim}") {
                bar.set_style(style);
            }
            bar.set_prefix(title.clone());
            bar.enable_steady_tick(TICK);
            Some(bar)
        } else {
            self.say(format!("- {title}"));
            None
        };
        Step {
            title,
            bar,
            started: Instant::now(),
        }
    }
}

/// A piece of work under way.
#[derive(Debug)]
pub struct Step {
    title: String,
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Step {
    /// What happens right now; without a terminal nobody sees it.
    pub fn at(&self, detail: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(detail.into());
        }
    }

    /// The work is done; `outcome` is what came of it.
    pub fn done(self, outcome: impl AsRef<str>) {
        self.end("✓", outcome.as_ref());
    }

    /// The work failed.
    pub fn failed(self, outcome: impl AsRef<str>) {
        self.end("✗", outcome.as_ref());
    }

    fn end(self, mark: &str, outcome: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let line = match (&self.bar, outcome.is_empty()) {
            (Some(_), true) => format!("{mark} {} ({seconds:.1} s)", self.title),
            (Some(_), false) => format!("{mark} {}: {outcome} ({seconds:.1} s)", self.title),
            (None, true) => format!("  {mark} ({seconds:.1} s)"),
            (None, false) => format!("  {mark} {outcome} ({seconds:.1} s)"),
        };
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

/// A size for people.
pub fn bytes(size: u64) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KiB", size.div_ceil(1024)),
        _ => {
            let tenths = size.div_ceil(104_858);
            format!("{}.{} MiB", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1025), "2 KiB");
        assert_eq!(bytes(1_048_576), "1.0 MiB");
        assert_eq!(bytes(3 * 1_048_576 / 2), "1.5 MiB");
    }
}
