//! The `selkie` command itself: what it prints, its exit codes, and that it leaves no process behind.

mod odd_folder;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use selkie::cli::{Endpoint, Protocol, root};
use selkie_qemu::{Process, free_port};
use selkie_tests::program::Output;
use selkie_tests::{Failed, Outcome, ensure, ground, program};
use serde_json::Value;

use crate::trial;

/// The tests' own copy of the echo system, so that one that the user runs is left alone.
const SYSTEM: &str = "tests/systems/command.toml";
const NAME: &str = "command";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("commands::build", build),
        trial("commands::missing_description", missing_description),
        trial("commands::wrong_description", wrong_description),
        trial("commands::taken_port", taken_port),
        trial("commands::detach_status_stop", detach_status_stop),
        trial("commands::interrupt", || ended_by("INT", 130)),
        trial("commands::terminate", || ended_by("TERM", 143)),
        trial("commands::hang_up", || ended_by("HUP", 129)),
        trial("commands::killed", killed),
        trial("commands::too_little_memory", too_little_memory),
        trial("commands::no_boot", no_boot),
        Trial::ignorable_test("commands::odd_folder", odd_folder::test),
    ]
}

/// The command; what builds a system builds it for the board that is tested.
fn selkie(arguments: &[&str]) -> Result<Output, Failed> {
    let script = root().join("selkie").to_string_lossy().into_owned();
    let mut words = vec![script];
    words.extend(arguments.iter().map(ToString::to_string));
    if matches!(arguments.first(), Some(&("run" | "build"))) {
        words.extend(on_the_board());
    }
    program::run(&words, b"", Duration::from_secs(300))
}

fn on_the_board() -> [String; 4] {
    let (board, configuration) = (&ground().board.name, ground().configuration);
    ["--board", board, "--config", configuration.name()].map(str::to_string)
}

fn system() -> String {
    root().join(SYSTEM).to_string_lossy().into_owned()
}

fn folder() -> PathBuf {
    root()
        .join("target/selkie")
        .join(&ground().board.name)
        .join(NAME)
}

/// Fails unless the command failed and its message says all of this.
fn refused(output: &Output, says: &[&str]) -> Outcome {
    ensure(output.code == Some(1), || format!("{output:?}"))?;
    says.iter().try_for_each(|part| {
        ensure(output.err.contains(part), || {
            format!("no `{part}`: {}", output.err)
        })
    })
}

/// `build` leaves what the documentation lists.
fn build() -> Outcome {
    selkie(&["build", &system()])?.good()?;
    let report: Value = serde_json::from_slice(&fs::read(folder().join("report.json"))?)?;
    ensure(report.is_object(), || report.to_string())?;
    for file in ["command.system", "report.json", "pds"] {
        ensure(folder().join(file).exists(), || {
            format!("no {file} in {}", folder().display())
        })?;
    }
    Ok(())
}

fn missing_description() -> Outcome {
    let output = selkie(&["run", "no-such-system"])?;
    refused(&output, &["no-such-system", "https", "http", "echo"])
}

fn wrong_description() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("wrong.toml");
    fs::write(
        &file,
        "[system]\nname = \"wrong\"\n\n[protection.a]\nprogramm = \"echo\"\n",
    )?;
    let output = selkie(&["build", &file.to_string_lossy()])?;
    refused(&output, &["wrong.toml", "programm"])
}

fn taken_port() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port().to_string();
    let output = selkie(&["run", &system(), "--port", &port])?;
    refused(&output, &[&port, "is taken", "--port"])
}

/// Starts, inspects and stops a detached system whose usual port another process has.
fn detach_status_stop() -> Outcome {
    // If the bind fails, another process has the port, which is as good.
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 7777));
    let log = tempfile::tempdir()?;
    let serial = log.path().join("serial.txt");
    let serial_option = serial.to_string_lossy().into_owned();
    let output = selkie(&["run", &system(), "--detach", "--serial", &serial_option])?.good()?;
    let guard = Stop;
    ensure(output.err.contains("port 7777 is taken"), || {
        output.err.clone()
    })?;
    let said = output.text();
    let port = said
        .split_once("serving tcp://127.0.0.1:")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u16>().ok());
    let port = port.ok_or_else(|| format!("no port: {said}"))?;
    let text = port.to_string();
    let kernel = if ground().is_microkit() {
        ["Microkit SDK 2.3.0", "MCS"]
    } else {
        ["seL4 5.0.0", "not verified"]
    };
    for part in kernel.into_iter().chain(["tcpip", "nic", "trusts: "]) {
        ensure(output.err.contains(part), || {
            format!("no `{part}`: {}", output.err)
        })?;
    }
    let endpoint = Endpoint {
        host: port,
        guest: 7,
        protocol: Protocol::Echo,
    };
    endpoint.ask(Duration::from_secs(10))?;
    ensure(fs::metadata(&serial)?.len() > 0, || {
        "the serial log is empty".into()
    })?;
    let listed = selkie(&["status"])?.good()?.text();
    ensure(listed.contains(NAME) && listed.contains(&text), || {
        listed.clone()
    })?;
    let process = running()?;
    let again = selkie(&["run", &system()])?;
    let id = format!("process {}", process.pid);
    refused(&again, &["is running already", &id, &text, "selkie stop"])?;
    let lines = selkie(&["logs", NAME, "--pd", "tcpip"])?.good()?.text();
    ensure(
        !lines.is_empty() && lines.lines().all(|line| line.contains("] tcpip: ")),
        || lines.clone(),
    )?;
    refused(
        &selkie(&["logs", NAME, "--pd", "tls"])?,
        &["no line of `tls`", "tcpip"],
    )?;
    selkie(&["stop", NAME])?.good()?;
    drop(guard);
    ensure(process.wait(Duration::from_secs(5)), || {
        format!("{process:?} still runs")
    })?;
    let listed = selkie(&["status"])?.good()?.text();
    ensure(!listed.contains(NAME), || listed.clone())?;
    refused(&selkie(&["stop", NAME])?, &["does not run"])
}

/// Ends the detached system when a test fails half-way.
struct Stop;

impl Drop for Stop {
    fn drop(&mut self) {
        // It does not run any more when the test came to its end.
        let _ = selkie(&["stop", NAME]);
    }
}

/// QEMU's process, as run.json names it.
fn running() -> Result<Process, Failed> {
    let run: Value = serde_json::from_slice(&fs::read(folder().join("run.json"))?)?;
    match (run["pid"].as_u64(), run["started"].as_u64()) {
        (Some(pid), Some(started)) => Ok(Process {
            pid: u32::try_from(pid)?,
            started,
        }),
        _ => Err(run.to_string().into()),
    }
}

/// A `selkie run` in the foreground that serves.
struct Foreground {
    child: Child,
    qemu: Process,
}

impl Foreground {
    fn start() -> Result<Self, Failed> {
        let mut child = Command::new(root().join("selkie"))
            .args(["run", &system(), "--port", &free_port()?.to_string()])
            .args(on_the_board())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(pipe) = &mut child.stdout {
            BufReader::new(pipe).read_line(&mut line)?;
        }
        if !line.starts_with("serving ") {
            let mut said = String::new();
            if let Some(pipe) = &mut child.stderr {
                pipe.read_to_string(&mut said)?;
            }
            child.wait()?;
            return Err(format!("it does not serve: {line}\n{said}").into());
        }
        Ok(Self {
            child,
            qemu: running()?,
        })
    }

    fn signal(&self, name: &str) -> Outcome {
        let id = self.child.id().to_string();
        let words = ["kill", "-s", name, &id];
        program::run(&words, b"", Duration::from_secs(5))?.good()?;
        Ok(())
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // Both have ended when the test came to its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.qemu.kill();
    }
}

/// A signal that asks the command to end ends QEMU too.
fn ended_by(signal: &str, code: i32) -> Outcome {
    let mut run = Foreground::start()?;
    run.signal(signal)?;
    let end = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = run.child.try_wait()? {
            break status;
        }
        ensure(Instant::now() < end, || "it does not end".into())?;
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure(status.code() == Some(code), || {
        format!("it ended with {status}")
    })?;
    ensure(!run.qemu.is_alive(), || "QEMU still runs".into())?;
    ensure(!folder().join("run.json").exists(), || {
        "run.json is left".into()
    })
}

/// Even when the command has no chance to do anything.
fn killed() -> Outcome {
    let mut run = Foreground::start()?;
    run.signal("KILL")?;
    run.child.wait()?;
    ensure(run.qemu.wait(Duration::from_secs(5)), || {
        "QEMU still runs".into()
    })
}

/// Refuses too little memory before anything is built, and names the minimum.
fn too_little_memory() -> Outcome {
    let output = selkie(&["run", &system(), "--memory", "16"])?;
    refused(&output, &["at least `--memory "])
}

/// Reports a system that does not serve within the time limit, and leaves no process behind. QEMU accepts the
/// connections, but the guest's address is not in QEMU's network.
fn no_boot() -> Outcome {
    let text = fs::read_to_string(root().join("tests/systems/stumbler.toml"))?;
    let text = text.replace("address = \"dhcp\"", "address = \"192.168.77.2/24\"");
    let (before, rest) = text.split_once("[protection.echo]").ok_or("no echo")?;
    let (_, after) = rest.split_once("[protection.back]").ok_or("no back")?;
    let text = format!("{before}[protection.back]{after}").replacen("stumbler", "unreachable", 1);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("unreachable.toml");
    fs::write(&file, text)?;
    let port = free_port()?.to_string();
    let file = file.to_string_lossy().into_owned();
    let output = selkie(&["run", &file, "--port", &port, "--timeout", "3"])?;
    let says = [
        "did not answer within 3 s",
        "serial port",
        "nothing in the guest takes a connection",
    ];
    refused(&output, &says)?;
    let run = root()
        .join("target/selkie")
        .join(&ground().board.name)
        .join("unreachable/run.json");
    ensure(!run.exists(), || "run.json is left".into())
}
