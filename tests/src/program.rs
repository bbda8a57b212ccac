//! Running other programs as clients, bounded in time.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Failed;

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Itself, if the program succeeded.
    ///
    /// # Errors
    /// What it printed, if it did not.
    pub fn good(self) -> Result<Self, Failed> {
        if self.code == Some(0) {
            return Ok(self);
        }
        Err(format!("exit code {:?}\n{}\n{}", self.code, self.text(), self.err).into())
    }
}

/// Runs a program with this standard input; `timeout` (coreutils) ends it when its time is up.
///
/// # Errors
/// When it cannot be started, or needs longer.
pub fn run<S: AsRef<OsStr>>(words: &[S], input: &[u8], limit: Duration) -> Result<Output, Failed> {
    let name = words
        .iter()
        .map(|w| w.as_ref().to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let mut child = Command::new("timeout")
        // In this process's own group, so that it is ended with it.
        .args([
            "--foreground",
            "--kill-after=5",
            &limit.as_secs().max(1).to_string(),
        ])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    let pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut pipe) = pipe {
                // A program that does not read its input to the end may be right in that.
                let _ = pipe.write_all(input);
            }
        });
        child.wait_with_output()
    })
    .map_err(|error| format!("{name}: {error}"))?;
    // The code by which `timeout` says that it ended the program.
    if output.status.code() == Some(124) {
        return Err(format!("{name} took longer than {} s", limit.as_secs()).into());
    }
    Ok(Output {
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_input_and_code_are_passed() {
        let output = run(
            &["sh", "-c", "cat; echo no >&2; exit 3"],
            b"yes",
            Duration::from_secs(5),
        );
        let output = output.unwrap();
        assert_eq!((output.text().as_str(), output.code), ("yes", Some(3)));
        assert!(output.good().is_err());
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        assert!(run(&["sleep", "60"], b"", Duration::from_secs(1)).is_err());
    }
}
