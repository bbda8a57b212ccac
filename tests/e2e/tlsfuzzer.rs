//! tlsfuzzer's scripts against the sessions of the `tls` PD in a server on the host
//! (`components/tls/examples/serve.rs`): several thousand connections, too many for an emulated machine.
//!
//! Skipped unless SELKIE_TLSFUZZER names a checkout of https://github.com/tlsfuzzer/tlsfuzzer and Python has tlslite-ng 0.9.
//! `tests/tlsfuzzer.txt` lists the scripts, and the reason for each test that fails.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use libtest_mimic::{Completion, Failed, Trial};
use selkie::cli::root;
use selkie_tests::{ensure, program};

/// The longest script makes a thousand connections.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn trials() -> Vec<Trial> {
    vec![Trial::ignorable_test("tlsfuzzer::scripts", scripts)]
}

fn scripts() -> Result<Completion, Failed> {
    let Some(checkout) = env::var_os("SELKIE_TLSFUZZER") else {
        let reason = "SELKIE_TLSFUZZER names no checkout of tlsfuzzer";
        return Ok(Completion::ignored_with(reason));
    };
    let checkout = checkout.to_string_lossy();
    let server = Server::start()?;
    let list = fs::read_to_string(root().join("tests/tlsfuzzer.txt"))?;
    for script in read(&list)? {
        let path = format!("{checkout}/scripts/{}", script.name);
        let mut words = vec!["python3", &path, "-h", "127.0.0.1", "-p", &server.port];
        words.extend(&script.options);
        let output = program::run(&words, b"", PATIENCE)?;
        let text = output.text();
        ensure(text.contains("\nTOTAL: "), || {
            format!("{} did not run: {text}\n{}", script.name, output.err)
        })?;
        let failed = failures(&text);
        let new: Vec<&&str> = failed
            .iter()
            .filter(|name| !script.explains(name))
            .collect();
        ensure(new.is_empty(), || {
            format!(
                "{}: {new:?} failed, without a reason in tests/tlsfuzzer.txt",
                script.name
            )
        })?;
    }
    Ok(Completion::Completed)
}

/// A script of the list.
struct Script<'a> {
    name: &'a str,
    options: Vec<&'a str>,
    /// Tests that fail, each with the reason; `*` at the end matches any suffix.
    explained: Vec<&'a str>,
}

impl Script<'_> {
    fn explains(&self, test: &str) -> bool {
        let fits = |known: &&str| match known.strip_suffix('*') {
            Some(start) => test.starts_with(start),
            None => test == *known,
        };
        self.explained.iter().any(fits)
    }
}

/// Parses the list: a line with a script and its options, then a line `- TEST: REASON` for each test that fails. `#` begins a
/// comment.
fn read(list: &str) -> Result<Vec<Script<'_>>, Failed> {
    let mut scripts: Vec<Script<'_>> = Vec::new();
    for line in list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match (line.strip_prefix("- "), scripts.last_mut()) {
            (Some(failure), Some(script)) => {
                let (test, _) = failure
                    .split_once(": ")
                    .ok_or_else(|| format!("no reason in the line `{line}`"))?;
                script.explained.push(test);
            }
            (Some(_), None) => return Err(format!("no script before the line `{line}`").into()),
            (None, _) => {
                let mut words = line.split(' ');
                scripts.push(Script {
                    name: words.next().unwrap_or_default(),
                    options: words.collect(),
                    explained: Vec::new(),
                });
            }
        }
    }
    ensure(scripts.len() > 20, || "hardly any script is listed".into())?;
    Ok(scripts)
}

/// Returns the failed tests, which a script names in quotes at the end of its output.
fn failures(text: &str) -> Vec<&str> {
    let (_, failed) = text.rsplit_once("FAILED:\n").unwrap_or_default();
    let names = failed
        .lines()
        .map(|line| line.trim().trim_matches(['\'', '"']));
    names.filter(|name| !name.is_empty()).collect()
}

/// The server on the host, which is killed when the test ends.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start() -> Result<Self, Failed> {
        let build = "cargo build --quiet --package tls --example serve --message-format=json";
        let mut words = build.split(' ');
        let output = Command::new(words.next().unwrap_or_default())
            .args(words)
            .current_dir(root())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let executable = text.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(message["executable"].as_str()?.to_owned())
        });
        let executable = executable
            .ok_or_else(|| format!("no server: {}", String::from_utf8_lossy(&output.stderr)))?;
        let mut child = Command::new(executable)
            .arg("127.0.0.1:0")
            .arg(root().join("components/vault/tests/rsa-2048.der"))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut first = String::new();
        lines.read_line(&mut first)?;
        // Drains the server's messages about connections, so that its pipe does not fill.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let port = first
            .trim()
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        Ok(Self { child, port })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
