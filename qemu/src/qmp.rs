//! QEMU's control channel: the QEMU Machine Protocol (QMP), JSON lines over a Unix socket.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Forward, usernet};

/// How long QEMU may take for one answer. It answers in milliseconds, except while it writes a dump.
const ANSWER: Duration = Duration::from_secs(30);

/// The socket's name in a run's folder.
const SOCKET: &str = "qmp.sock";

/// The name of the second serial port's socket.
const SERIAL: &str = "serial1.sock";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket failed, or QEMU has ended.
    #[error("QEMU's control socket: {0}")]
    Io(#[from] io::Error),
    /// QEMU sent what is not QMP.
    #[error("QEMU sent `{0}`, which is not QMP")]
    Malformed(String),
    /// QEMU refused the command.
    #[error("QEMU refuses `{command}`: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's words.
        description: String,
    },
}

/// A connection to a running QEMU.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    next: u64,
    events: Vec<Value>,
}

impl Qmp {
    /// Connects to the QEMU that was started with this run folder. QEMU serves one client at a time.
    ///
    /// # Errors
    /// When nobody listens there, another client is connected, or the greeting is not QMP's.
    pub fn connect(folder: &Path) -> Result<Self, QmpError> {
        Self::connect_within(folder, ANSWER)
    }

    /// As [`Qmp::connect`], for a QEMU that may not answer: `patience` bounds this and each later answer.
    ///
    /// # Errors
    /// As [`Qmp::connect`].
    pub fn connect_within(folder: &Path, patience: Duration) -> Result<Self, QmpError> {
        let stream = within(folder, SOCKET, |path| UnixStream::connect(path))?;
        stream.set_read_timeout(Some(patience))?;
        Self::over(stream)
    }

    fn over(stream: UnixStream) -> Result<Self, QmpError> {
        stream.set_write_timeout(Some(ANSWER))?;
        let mut qmp = Self {
            writer: stream.try_clone()?,
            reader: BufReader::new(stream),
            next: 1,
            events: Vec::new(),
        };
        let greeting = qmp.read()?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Malformed(greeting.to_string()));
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns what it returns. Events that arrive meanwhile are kept.
    ///
    /// # Errors
    /// When QEMU refuses the command or does not answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let id = self.next;
        self.next += 1;
        let mut request = json!({ "execute": command, "id": id });
        if arguments.as_object().is_some_and(|map| !map.is_empty()) {
            request["arguments"] = arguments;
        }
        self.writer.write_all(format!("{request}\n").as_bytes())?;
        loop {
            let mut answer = self.read()?;
            if answer.get("event").is_some() {
                self.events.push(answer);
            } else if answer.get("id") != Some(&json!(id)) {
                // The answer to a command whose waiting time ran out.
            } else if let Some(error) = answer.get("error") {
                return Err(QmpError::Refused {
                    command: command.to_string(),
                    description: error["desc"].as_str().unwrap_or("no reason").to_string(),
                });
            } else {
                return Ok(answer["return"].take());
            }
        }
    }

    /// The events seen so far, oldest first; they are handed out once.
    pub fn take_events(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    /// The machine's state, such as `running` or `paused`.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn status(&mut self) -> Result<String, QmpError> {
        let answer = self.execute("query-status", json!({}))?;
        answer["status"]
            .as_str()
            .map(str::to_string)
            .ok_or_else(|| QmpError::Malformed(answer.to_string()))
    }

    /// How many instructions the guest has executed since its start; waiting takes none. 0 unless they are counted
    /// ([`Launch::counting`](crate::Launch::counting)).
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn instructions(&mut self) -> Result<u64, QmpError> {
        // It has the number also where nothing is recorded or replayed.
        let answer = self.execute("query-replay", json!({}))?;
        let count = answer["icount"].as_u64();
        count.ok_or_else(|| QmpError::Malformed(answer.to_string()))
    }

    /// Ends QEMU.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn quit(&mut self) -> Result<(), QmpError> {
        self.execute("quit", json!({})).map(drop)
    }

    /// Stops the guest's processors.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn pause(&mut self) -> Result<(), QmpError> {
        self.execute("stop", json!({})).map(drop)
    }

    /// Lets a paused guest go on.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn resume(&mut self) -> Result<(), QmpError> {
        self.execute("cont", json!({})).map(drop)
    }

    /// Pulls out or plugs in a network device's cable.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn set_link(&mut self, name: &str, up: bool) -> Result<(), QmpError> {
        self.execute("set_link", json!({ "name": name, "up": up }))
            .map(drop)
    }

    /// Writes guest physical memory to a file.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn save_memory(&mut self, address: u64, size: u64, file: &Path) -> Result<(), QmpError> {
        self.execute(
            "pmemsave",
            json!({ "val": address, "size": size, "filename": file.to_string_lossy() }),
        )
        .map(drop)
    }

    /// Runs a command of the human monitor and returns its text.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn monitor(&mut self, line: &str) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        answer
            .as_str()
            .map(str::to_string)
            .ok_or_else(|| QmpError::Malformed(answer.to_string()))
    }

    /// Whether a connection through this forward of the user-mode network is established in the
    /// guest. QEMU accepts a connection before the guest does.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn is_established(&mut self, forward: Forward) -> Result<bool, QmpError> {
        let text = self.monitor("info usernet")?;
        Ok(usernet::is_established(&text, forward))
    }

    fn read(&mut self) -> Result<Value, QmpError> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        serde_json::from_str(&line).map_err(|_| QmpError::Malformed(line.trim().to_string()))
    }
}

/// The second serial port of the machine that was started with this run folder. Several clients take turns: QEMU
/// serves one at a time.
///
/// # Errors
/// When nobody listens there: the machine does not run.
pub fn second_serial(folder: &Path) -> io::Result<UnixStream> {
    within(folder, SERIAL, |path| UnixStream::connect(path))
}

/// A listening socket for the second serial port; see [`listen`].
pub(crate) fn listen_for_serial(folder: &Path) -> io::Result<UnixListener> {
    listen_at(folder, SERIAL)
}

/// A listening control socket in a run's folder, for QEMU to inherit; a stale one is replaced.
pub(crate) fn listen(folder: &Path) -> io::Result<UnixListener> {
    listen_at(folder, SOCKET)
}

fn listen_at(folder: &Path, name: &str) -> io::Result<UnixListener> {
    within(folder, name, |path| {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        UnixListener::bind(path)
    })
}

/// Names the socket through an open folder: a socket's path may have 107 bytes only, a folder's path any
/// length (unix(7)).
fn within<T>(folder: &Path, name: &str, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    act(&path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;

    /// A QEMU that sends these lines, each after one line from the client (the greeting before any).
    fn fake(lines: &'static [&'static str]) -> (UnixStream, thread::JoinHandle<Vec<String>>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut reader = BufReader::new(theirs.try_clone().unwrap());
            let mut writer = theirs;
            let mut seen = Vec::new();
            for (index, line) in lines.iter().enumerate() {
                if index > 0 {
                    let mut request = String::new();
                    if reader.read_line(&mut request).unwrap() == 0 {
                        break;
                    }
                    seen.push(request.trim().to_string());
                }
                writer.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            }
            seen
        });
        (ours, server)
    }

    #[test]
    fn commands_are_sent_and_events_are_kept_apart() {
        let (stream, server) = fake(&[
            GREETING,
            r#"{"return": {}, "id": 1}"#,
            "{\"event\": \"RESUME\", \"data\": {}}\r\n{\"return\": {\"status\": \"running\"}, \"id\": 2}",
            r#"{"return": {}, "id": 3}"#,
        ]);
        let mut qmp = Qmp::over(stream).unwrap();
        assert_eq!(qmp.status().unwrap(), "running");
        assert_eq!(qmp.take_events()[0]["event"], "RESUME");
        assert!(qmp.take_events().is_empty());
        qmp.set_link("net0", false).unwrap();
        let seen = server.join().unwrap();
        let last: Value = serde_json::from_str(&seen[2]).unwrap();
        assert_eq!(
            last,
            json!({ "execute": "set_link", "id": 3, "arguments": { "name": "net0", "up": false } })
        );
    }

    #[test]
    fn a_refusal_carries_the_reason() {
        let (stream, _server) = fake(&[
            GREETING,
            r#"{"return": {}, "id": 1}"#,
            r#"{"id": 2, "error": {"class": "GenericError", "desc": "no such device"}}"#,
        ]);
        let error = Qmp::over(stream)
            .unwrap()
            .set_link("nic", true)
            .unwrap_err();
        assert_eq!(error.to_string(), "QEMU refuses `set_link`: no such device");
    }

    #[test]
    fn an_answer_to_an_earlier_command_is_passed_over() {
        let (stream, _server) = fake(&[
            GREETING,
            r#"{"return": {}, "id": 1}"#,
            "{\"return\": \"late\", \"id\": 77}\n{\"return\": \"now\", \"id\": 2}",
        ]);
        assert_eq!(Qmp::over(stream).unwrap().monitor("info").unwrap(), "now");
    }

    #[test]
    fn nonsense_and_an_end_are_errors() {
        let (stream, _server) = fake(&["SSH-2.0-OpenSSH"]);
        assert!(matches!(Qmp::over(stream), Err(QmpError::Malformed(_))));
        let (stream, _server) = fake(&[r#"{"hello": 1}"#]);
        assert!(matches!(Qmp::over(stream), Err(QmpError::Malformed(_))));
        let (stream, server) = fake(&[GREETING, r#"{"return": {}, "id": 1}"#]);
        let mut qmp = Qmp::over(stream).unwrap();
        server.join().unwrap();
        assert!(matches!(qmp.status(), Err(QmpError::Io(_))));
    }

    #[test]
    fn a_socket_works_in_a_folder_with_a_long_path() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("f".repeat(120));
        std::fs::create_dir(&long).unwrap();
        drop(listen(&long).unwrap());
        let listener = listen(&long).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(GREETING.as_bytes()).unwrap();
            stream
                .write_all(b"\n{\"return\": {}, \"id\": 1}\n")
                .unwrap();
            stream
        });
        Qmp::connect(&long).unwrap();
        server.join().unwrap();
    }
}
