//! A network namespace with a TAP interface, made by a test and gone with it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Failed;
use crate::program::{self, Output};

/// The TAP interface's name inside the namespace.
pub const INTERFACE: &str = "tap0";

/// A network namespace that exists as long as this value: a process that waits holds it.
#[derive(Debug)]
pub struct Namespace {
    holder: Child,
    user: bool,
}

impl Namespace {
    /// Makes a namespace with a TAP interface that is up and has these addresses (`ADDRESS/PREFIX`).
    ///
    /// # Errors
    /// Why this machine does not permit it: a reason to skip, not a failure.
    pub fn with_tap(addresses: &[&str]) -> Result<Self, String> {
        let user = !is_root();
        let mut unshare = Command::new("unshare");
        if user {
            unshare.args(["--user", "--map-root-user"]);
        }
        // The shell ends when its input does, which is at the latest when this process ends.
        let mut holder = unshare
            .args(["--net", "--", "sh", "-c", "echo ready; read _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run unshare: {error}"))?;
        let mut ready = String::new();
        if let Some(pipe) = holder.stdout.take() {
            // Nothing arrives when unshare fails; that is seen below.
            let _ = BufReader::new(pipe).read_line(&mut ready);
        }
        let namespace = Self { holder, user };
        if ready.trim() != "ready" {
            return Err("no network namespace may be made here".into());
        }
        let mut commands = vec![
            format!("ip link set lo up"),
            format!("ip tuntap add dev {INTERFACE} mode tap"),
            format!("ip link set {INTERFACE} up"),
        ];
        commands.extend(addresses.iter().map(|address| {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            format!("ip address add {address} dev {INTERFACE}{nodad}")
        }));
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            let done = namespace
                .run(&words, b"", Duration::from_secs(10))
                .and_then(Output::good);
            if let Err(error) = done {
                let reason = error.message().unwrap_or("it failed").replace('\n', " ");
                return Err(format!("`{command}`: {reason}"));
            }
        }
        Ok(namespace)
    }

    /// The words that start a program inside the namespace.
    pub fn enter(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["nsenter".into()];
        if self.user {
            words.extend(["--user".into(), "--preserve-credentials".into()]);
        }
        words.extend(["--net".into(), "--target".into()]);
        words.push(self.holder.id().to_string().into());
        words.push("--".into());
        words
    }

    /// Runs a program inside the namespace.
    ///
    /// # Errors
    /// As [`program::run`].
    pub fn run(&self, words: &[&str], input: &[u8], limit: Duration) -> Result<Output, Failed> {
        let mut all = self.enter();
        all.extend(words.iter().map(OsString::from));
        program::run(&all, input, limit)
    }

    /// Starts a server inside the namespace; it is killed when the value is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, words: &[String]) -> Result<Server, Failed> {
        let mut all = self.enter();
        all.extend(words.iter().map(OsString::from));
        let mut all = all.into_iter();
        let first = all.next().unwrap_or_default();
        let server = Command::new(first)
            .args(all)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", words.join(" ")))?;
        Ok(Server(server))
    }
}

/// A server that runs inside a namespace until this value is dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.holder.stdin.take() {
            // It may have ended already.
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.holder.wait();
    }
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
