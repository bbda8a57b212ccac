//! The text that the guest wrote to its serial port.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Error, Guest};

/// How often a waiting reader looks for new text.
const LOOK: Duration = Duration::from_millis(15);

/// The file that QEMU writes the guest's serial port to.
#[derive(Clone, Debug)]
pub struct SerialLog {
    path: PathBuf,
}

impl SerialLog {
    /// The log in this file, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything so far; bytes that are not UTF-8 are replaced, and an absent file is empty.
    pub fn text(&self) -> String {
        self.text_from(0)
    }

    /// What was written from this offset in bytes.
    pub fn text_from(&self, offset: u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = fs::File::open(&self.path)
            && file.seek(SeekFrom::Start(offset)).is_ok()
        {
            // What could be read before an error is still the log.
            let _: io::Result<usize> = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// Length of the log in bytes: a mark for [`SerialLog::text_from`].
    pub fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |data| data.len())
    }

    /// The last lines.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits until a line holds `what`, and returns that line.
    ///
    /// # Errors
    /// [`Error::TimedOut`], or [`Error::Ended`] when the guest ends first.
    pub fn wait_for(&self, what: &str, timeout: Duration, guest: &Guest) -> Result<String, Error> {
        self.wait_for_from(0, what, timeout, guest)
    }

    /// As [`SerialLog::wait_for`], looking only at what was written from this offset in bytes.
    ///
    /// # Errors
    /// As [`SerialLog::wait_for`].
    pub fn wait_for_from(
        &self,
        offset: u64,
        what: &str,
        timeout: Duration,
        guest: &Guest,
    ) -> Result<String, Error> {
        let end = Instant::now() + timeout;
        loop {
            let ended = guest.ended();
            let text = self.text_from(offset);
            // A line that is still being written would lack its end.
            let mut lines = text
                .split_inclusive('\n')
                .filter_map(|line| line.strip_suffix('\n'));
            if let Some(line) = lines.find(|line| line.contains(what)) {
                return Ok(line.to_string());
            }
            if ended.is_some() {
                return Err(guest.ended_error());
            }
            if Instant::now() >= end {
                return Err(Error::TimedOut {
                    what: what.to_string(),
                    after: timeout,
                });
            }
            std::thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines_and_an_absent_file_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let log = SerialLog::new(folder.path().join("serial.log"));
        assert_eq!((log.text().as_str(), log.length()), ("", 0));
        fs::write(log.path(), b"one\r\ntwo\r\n\xffthree\r\n").unwrap();
        assert_eq!(log.tail(2), "two\n\u{fffd}three");
        assert_eq!(log.tail(9).lines().count(), 3);
        assert_eq!(log.text_from(5), "two\n\u{fffd}three\n");
    }
}
