//! The systems that run, as files that outlive the command that started them.
//!
//! `target/selkie/BOARD/NAME/run.json` says which process runs a system. The process is named by its start
//! time too, so that a file left behind never leads to a stranger's process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use selkie_qemu::{Process, Qmp};
use serde::{Deserialize, Serialize};

/// The file's name.
const FILE: &str = "run.json";

/// How long QEMU may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// A system that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The system's name.
    pub name: String,
    /// The board.
    pub board: String,
    /// QEMU's process identifier.
    pub pid: u32,
    /// QEMU's start time in clock ticks after boot.
    pub started: u64,
    /// Seconds since 1970 when it was started.
    pub since: u64,
    /// The URLs of its services, once they answer.
    pub urls: Vec<String>,
    /// The host ports that are forwarded to it, each with the guest's port.
    #[serde(default)]
    pub ports: Vec<(u16, u16)>,
    /// The serial log.
    pub serial: PathBuf,
    /// Whether it outlives the command that started it.
    pub detached: bool,
}

impl Run {
    /// A run that begins now.
    pub fn new(name: &str, board: &str, process: Process, serial: &Path) -> Self {
        Self {
            name: name.to_string(),
            board: board.to_string(),
            pid: process.pid,
            started: process.started,
            since: now(),
            urls: Vec::new(),
            ports: Vec::new(),
            serial: serial.to_path_buf(),
            detached: false,
        }
    }

    /// QEMU's process.
    pub fn process(&self) -> Process {
        Process {
            pid: self.pid,
            started: self.started,
        }
    }

    /// Returns a message that it is running, with its process and its forwarded ports.
    pub fn described(&self) -> String {
        let ports: Vec<String> = self
            .ports
            .iter()
            .map(|(host, guest)| format!("{host} (port {guest} of the guest)"))
            .collect();
        let ports = match &ports[..] {
            [] => "no port of this machine leads into it".to_string(),
            ports => format!("ports of 127.0.0.1: {}", ports.join(", ")),
        };
        format!(
            "`{}` is running already on the board {}: QEMU process {}, {ports}",
            self.name, self.board, self.pid
        )
    }

    /// How long it has run.
    pub fn age(&self) -> Duration {
        Duration::from_secs(now().saturating_sub(self.since))
    }

    /// Writes the file in the run's folder, whole or not at all.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let unfinished = folder.join("run.json.new");
        fs::write(&unfinished, serde_json::to_vec_pretty(self)?)?;
        fs::rename(unfinished, folder.join(FILE))
    }

    /// Ends QEMU: asks, then kills. The file goes too.
    pub fn stop(&self, folder: &Path) -> io::Result<()> {
        let process = self.process();
        let asked = Qmp::connect_within(folder, PATIENCE).is_ok_and(|mut qmp| qmp.quit().is_ok());
        if !(asked && process.wait(PATIENCE)) {
            process.kill()?;
            process.wait(PATIENCE);
        }
        forget(folder)
    }
}

/// Removes a run's file.
pub(super) fn forget(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The run of this folder, if it is alive.
pub(super) fn of(folder: &Path) -> Option<Run> {
    let bytes = fs::read(folder.join(FILE)).ok()?;
    let run: Run = serde_json::from_slice(&bytes).ok()?;
    run.process().is_alive().then_some(run)
}

/// Every run that is alive, with its folder, ordered by name.
pub(super) fn all(output: &Path) -> Vec<(PathBuf, Run)> {
    let mut runs: Vec<(PathBuf, Run)> = folders(output)
        .flat_map(|board| folders(&board).collect::<Vec<_>>())
        .filter_map(|folder| of(&folder).map(|run| (folder, run)))
        .collect();
    runs.sort_by(|a, b| (&a.1.name, &a.1.board).cmp(&(&b.1.name, &b.1.board)));
    runs
}

/// Lists the folders in a folder.
pub(super) fn folders(of: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(of)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_run_is_found_while_its_process_lives() {
        let output = tempfile::tempdir().unwrap();
        let folder = output.path().join("pc99/echo");
        fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        let run = Run::new("echo", "pc99", process, Path::new("serial.log"));
        run.save(&folder).unwrap();
        assert_eq!(all(output.path()), [(folder.clone(), run.clone())]);
        // `sleep` serves no QMP, so it is killed; its parent must reap it to make it disappear.
        let reaper = std::thread::spawn(move || child.wait());
        run.stop(&folder).unwrap();
        reaper.join().unwrap().unwrap();
        assert_eq!(of(&folder), None);
        assert!(!folder.join(FILE).exists());
    }

    #[test]
    fn a_run_is_described_by_process_and_ports() {
        let process = Process {
            pid: 4711,
            started: 1,
        };
        let mut run = Run::new("gen", "pc99", process, Path::new("s"));
        let said = run.described();
        assert!(said.contains("process 4711, no port"), "{said}");
        run.ports = vec![(9000, 80), (8443, 443)];
        let said = run.described();
        assert!(
            said.contains("9000 (port 80 of the guest), 8443 (port 443"),
            "{said}"
        );
        // Files of earlier versions name no ports.
        let old = serde_json::to_value(&run).unwrap();
        let mut old = old.as_object().unwrap().clone();
        old.remove("ports");
        let read: Run = serde_json::from_value(old.into()).unwrap();
        assert!(read.ports.is_empty());
    }

    #[test]
    fn a_file_left_behind_is_not_a_run() {
        let output = tempfile::tempdir().unwrap();
        let folder = output.path().join("pc99/http");
        fs::create_dir_all(&folder).unwrap();
        let mut process = Process::of(std::process::id()).unwrap();
        process.started += 1;
        Run::new("http", "pc99", process, Path::new("s"))
            .save(&folder)
            .unwrap();
        assert!(all(output.path()).is_empty());
        fs::write(folder.join(FILE), "{").unwrap();
        assert!(all(output.path()).is_empty());
    }
}
