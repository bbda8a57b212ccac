//! A running machine.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Machine, Process, Qmp, SerialLog};

/// A QEMU that this process started. Dropping it ends it, unless it was started detached.
#[derive(Debug)]
pub struct Guest {
    process: Process,
    folder: PathBuf,
    messages: PathBuf,
    serial: SerialLog,
    detached: bool,
    end: Arc<End>,
}

/// How QEMU ended, once it has.
#[derive(Debug, Default)]
struct End {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Guest {
    /// Starts the command on a thread that stays until QEMU ends: the kernel ties QEMU's life to the thread
    /// that started it (prctl(2), PR_SET_PDEATHSIG), not to the process, and a caller's thread may end early.
    pub(crate) fn spawn(
        mut command: Command,
        machine: &'static Machine,
        folder: PathBuf,
        messages: PathBuf,
        serial: SerialLog,
        detached: bool,
        listener: UnixListener,
    ) -> Result<Self, Error> {
        let end = Arc::new(End::default());
        let keeper = Arc::clone(&end);
        let (tell, told) = mpsc::channel();
        thread::Builder::new()
            .name("qemu".into())
            .spawn(move || {
                let started = command.spawn();
                drop(listener);
                match started {
                    Err(error) => drop(tell.send(Err(error))),
                    Ok(mut child) => {
                        let process = Process::of(child.id());
                        drop(tell.send(Ok((child.id(), process))));
                        keeper.set(child.wait().ok());
                    }
                }
            })
            .map_err(Error::io("cannot start a thread"))?;
        let started = told
            .recv()
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::BrokenPipe)));
        let (pid, process) =
            started.map_err(Error::io(format!("cannot start {}", machine.program)))?;
        Ok(Self {
            // A QEMU that has ended already has no start time any more; nothing will ever match 0.
            process: process.unwrap_or(Process { pid, started: 0 }),
            folder,
            messages,
            serial,
            detached,
            end,
        })
    }

    /// QEMU's process.
    pub fn process(&self) -> Process {
        self.process
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the guest writes to its serial port.
    pub fn serial(&self) -> &SerialLog {
        &self.serial
    }

    /// A connection to QEMU's control channel, which serves one at a time.
    ///
    /// # Errors
    /// When QEMU has ended or another connection is open.
    pub fn qmp(&self) -> Result<Qmp, Error> {
        Ok(Qmp::connect(&self.folder)?)
    }

    /// How QEMU ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        *self.end.lock()
    }

    /// The error that says how QEMU ended, with its last words.
    pub fn ended_error(&self) -> Error {
        let said = fs::read_to_string(&self.messages).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        Error::Ended {
            status: self
                .ended()
                .map_or_else(|| "still running".to_string(), |status| status.to_string()),
            said: lines[lines.len().saturating_sub(12)..].join("\n"),
        }
    }

    /// Waits until QEMU ends by itself.
    pub fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        self.end.wait(timeout)
    }

    /// Ends QEMU: asks it first, then, if it has not ended in time, kills it.
    pub fn quit(self, patience: Duration) {
        let asked =
            Qmp::connect_within(&self.folder, patience).is_ok_and(|mut qmp| qmp.quit().is_ok());
        if !(asked && self.wait(patience).is_some()) {
            self.kill();
        }
    }

    /// Lets a detached guest run on without this process.
    pub fn leave(self) -> Process {
        self.process
    }

    fn kill(&self) {
        if self.ended().is_none() {
            // A failure means that it has just ended: the process is this user's own.
            let _ = self.process.kill();
            self.wait(Duration::from_secs(5));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if !self.detached {
            self.kill();
        }
    }
}

impl End {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, status: Option<ExitStatus>) {
        *self.lock() = status;
        self.changed.notify_all();
    }

    fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + timeout;
        let mut status = self.lock();
        while status.is_none() {
            let left = end.checked_duration_since(Instant::now())?;
            status = self
                .changed
                .wait_timeout(status, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Boot, Launch, PC99};

    /// A machine whose QEMU is a shell script.
    fn scripted(folder: &Path, script: &str) -> Guest {
        static MACHINE: Machine = Machine {
            program: "true",
            ..PC99
        };
        Launch {
            wrapper: ["sh", "-c", script].map(Into::into).to_vec(),
            ..Launch::new(&MACHINE, Boot::Kernel("none".into()), folder)
        }
        .start()
        .unwrap()
    }

    #[test]
    fn an_end_is_told_with_the_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let guest = scripted(folder.path(), "echo no such kernel >&2; exit 3");
        let error = guest
            .serial()
            .wait_for("never", Duration::from_secs(10), &guest)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "QEMU ended (exit status: 3); it said:\nno such kernel"
        );
    }

    #[test]
    fn a_silent_guest_times_out_and_is_ended_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let guest = scripted(folder.path(), "exec sleep 60");
        let process = guest.process();
        let waited = guest
            .serial()
            .wait_for("ready", Duration::from_millis(50), &guest);
        assert!(matches!(waited, Err(Error::TimedOut { .. })));
        assert!(process.is_alive());
        drop(guest);
        assert!(!process.is_alive());
    }

    #[test]
    fn a_guest_that_does_not_answer_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let guest = scripted(folder.path(), "exec sleep 60");
        let process = guest.process();
        // The script inherited the control socket, so that connecting succeeds, but never reads it.
        guest.quit(Duration::from_millis(50));
        assert!(!process.is_alive());
    }

    #[test]
    fn a_guest_lives_longer_than_the_thread_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_path_buf();
        let guest = thread::spawn(move || scripted(&path, "exec sleep 60"))
            .join()
            .unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(guest.process().is_alive());
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        static MACHINE: Machine = Machine {
            program: "qemu-system-none",
            ..PC99
        };
        let folder = tempfile::tempdir().unwrap();
        let error = Launch::new(&MACHINE, Boot::Kernel("none".into()), folder.path())
            .start()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "qemu-system-none is not installed (Debian package qemu-system-x86)"
        );
    }
}
