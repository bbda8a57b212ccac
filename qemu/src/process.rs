//! A process that is named without mistake, even by somebody who is not its parent.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process identifier with the process's start time: the pair is never used twice between two boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process identifier.
    pub pid: u32,
    /// Clock ticks from the machine's boot to the process's start (proc(5), `/proc/PID/stat` field 22).
    pub started: u64,
}

impl Process {
    /// The process that has this identifier now.
    pub fn of(pid: u32) -> Option<Self> {
        let (state, started) = stat(pid)?;
        (state != 'Z').then_some(Self { pid, started })
    }

    /// Whether the process still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// Ends the process at once.
    ///
    /// # Errors
    /// When the process belongs to somebody else. A process that has ended already is no error.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Asks the process to end.
    ///
    /// # Errors
    /// As [`Process::kill`].
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits until the process has ended; says whether it has.
    pub fn wait(&self, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        while self.is_alive() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.handle()? {
            Some(handle) => match pidfd_send_signal(handle, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(error) => Err(error.into()),
            },
            None => Ok(()),
        }
    }

    /// A handle that cannot come to mean another process; the identity is checked after it is taken.
    fn handle(&self) -> io::Result<Option<OwnedFd>> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Ok(self.is_alive().then_some(handle)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// State letter and start time. The second field, the program's name, may hold anything but ends with
/// the last closing parenthesis.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_is_seen_killed_and_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        assert!(process.is_alive());
        process.kill().unwrap();
        assert!(process.wait(Duration::from_secs(5)));
        child.wait().unwrap();
        assert_eq!(Process::of(process.pid), None);
        process.kill().unwrap();
    }

    #[test]
    fn a_reused_identifier_is_not_the_same_process() {
        let own = Process::of(std::process::id()).unwrap();
        let other = Process {
            started: own.started + 1,
            ..own
        };
        assert!(!other.is_alive());
        other.kill().unwrap();
    }
}
