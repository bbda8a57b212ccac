//! `selkie logs`: what a system writes to its serial port.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::Context;
use super::runs::{self, Run};
use super::signals::Signals;

/// Interval at which `--follow` polls for new lines.
const LOOK: Duration = Duration::from_millis(100);

/// Maximum number of bytes per read.
const PIECE: u64 = 1 << 20;

/// Options of `selkie logs`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The system's name, as `selkie status` lists it [default: the one that runs].
    name: Option<String>,
    /// The board, where systems of this name run on several.
    #[arg(long)]
    board: Option<String>,
    /// Print new lines until the system ends.
    #[arg(long, short)]
    follow: bool,
    /// Print only lines of this protection domain.
    #[arg(long, value_name = "NAME")]
    pd: Option<String>,
}

/// A log, and the run that writes it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    name: String,
    path: PathBuf,
    run: Option<Run>,
}

pub(super) fn command(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let found = find(&context.output(), options)?;
    let path = found.path.display();
    if found.run.is_none() {
        let name = &found.name;
        let line = format!("`{name}` is not running; this is the log of its last run ({path})");
        context.ui.say(line);
    }
    let signals = Signals::catch()?;
    let mut log = Log::new(&found.path, options.pd.as_deref());
    let cannot = || format!("cannot read {path}");
    loop {
        // Checked before the read, so that everything written before QEMU ended is read.
        let ended = found
            .run
            .as_ref()
            .is_none_or(|run| !run.process().is_alive());
        while log.read(ended).with_context(cannot)? {
            for line in log.take() {
                context.ui.result(line);
            }
        }
        if signals.caught().is_some() {
            return Ok(signals.exit_code());
        }
        if ended || !options.follow {
            break;
        }
        std::thread::sleep(LOOK);
    }
    if options.follow && found.run.is_some() {
        context.ui.say(format!("`{}` has ended", found.name));
    }
    match log.unmatched() {
        Some(message) => bail!(message),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Finds the requested log: that of a running system, or else that of the last run.
fn find(output: &Path, options: &Options) -> anyhow::Result<Found> {
    let on_board = |board: &str| {
        options
            .board
            .as_deref()
            .is_none_or(|wanted| wanted == board)
    };
    let running = runs::all(output);
    let fits = |run: &Run| {
        let named = options.name.as_ref().is_none_or(|name| *name == run.name);
        named && on_board(&run.board)
    };
    let mut fitting = running.iter().filter(|(_, run)| fits(run));
    match (fitting.next(), fitting.next()) {
        (Some((_, run)), None) => {
            return Ok(Found {
                name: run.name.clone(),
                path: run.serial.clone(),
                run: Some(run.clone()),
            });
        }
        (Some(_), Some(_)) => bail!(
            "several systems run: {}; say which one, with --board where the name is the same",
            listed(
                running
                    .iter()
                    .map(|(_, run)| format!("{} on {}", run.name, run.board))
            )
        ),
        (None, _) => {}
    }
    let Some(name) = &options.name else {
        bail!("no system runs; `selkie logs NAME` prints the log of the last run of NAME");
    };
    // The newest first.
    let mut last: Vec<_> = runs::folders(output)
        .filter(|board| {
            board
                .file_name()
                .is_some_and(|board| on_board(&board.to_string_lossy()))
        })
        .map(|board| board.join(name).join("serial.log"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .collect();
    last.sort();
    match last.pop() {
        Some((_, path)) => Ok(Found {
            name: name.clone(),
            path,
            run: None,
        }),
        None if running.is_empty() => {
            bail!("`{name}` is not running and has no log; no system runs")
        }
        None => bail!(
            "`{name}` is not running and has no log; running: {}",
            listed(running.iter().map(|(_, run)| run.name.clone()))
        ),
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// A log that is read line by line while it grows.
struct Log<'a> {
    path: &'a Path,
    /// Print only lines of this protection domain.
    only: Option<&'a str>,
    /// Number of bytes read so far.
    offset: u64,
    /// An incomplete last line.
    rest: Vec<u8>,
    lines: Vec<String>,
    /// Protection domains that have written lines.
    seen: BTreeSet<String>,
}

impl<'a> Log<'a> {
    fn new(path: &'a Path, only: Option<&'a str>) -> Self {
        Self {
            path,
            only,
            offset: 0,
            rest: Vec::new(),
            lines: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Reads the next piece; returns true if there were bytes or lines. With `ended`, an incomplete last line counts as
    /// a line.
    fn read(&mut self, ended: bool) -> io::Result<bool> {
        let mut file = File::open(self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let count = file.take(PIECE).read_to_end(&mut self.rest)?;
        self.offset += count as u64;
        let end = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None => 0,
        };
        let end = match ended && count == 0 {
            true => self.rest.len(),
            false => end,
        };
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        for line in String::from_utf8_lossy(&whole).lines() {
            self.line(line);
        }
        Ok(count > 0 || !self.lines.is_empty())
    }

    fn line(&mut self, line: &str) {
        // Firmware and kernels write escape sequences, and a PD could forge line breaks.
        let shown = |c: char| if c.is_control() && c != '\t' { '?' } else { c };
        let line: String = line.trim_end_matches('\r').chars().map(shown).collect();
        let writer = writer(&line).map(str::to_string);
        let wanted = self.only.is_none_or(|only| writer.as_deref() == Some(only));
        self.seen.extend(writer);
        if wanted {
            self.lines.push(line);
        }
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Returns a message if the requested PD has written no line.
    fn unmatched(&self) -> Option<String> {
        let only = self.only.filter(|only| !self.seen.contains(*only))?;
        let seen: Vec<&str> = self.seen.iter().map(String::as_str).collect();
        let seen = match &seen[..] {
            [] => "no protection domain has written any".to_string(),
            seen => format!("there are lines of {}", seen.join(", ")),
        };
        Some(format!("there is no line of `{only}`; {seen}"))
    }
}

/// Returns the name of the PD that wrote a line, such as `nic` in `[    1.500000] nic: link up`.
fn writer(line: &str) -> Option<&str> {
    let (time, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (seconds, fraction) = time.split_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(seconds.trim_start()) && number(fraction)).then_some(())?;
    let (name, _) = rest.split_once(':')?;
    (!name.is_empty() && !name.contains(' ')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use selkie_qemu::Process;
    use std::fs;

    const LOG: &str = "Booting\r\n[    0.000000] supervisor: watching\r\n[    1.500000] nic: link up\n\
                       [    1.600000] tcpip: address nic: 10.0.2.15\n[    2.000000] nic: no end";

    fn lines(text: &[u8], only: Option<&str>, ended: bool) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.log");
        fs::write(&path, text).unwrap();
        let mut log = Log::new(&path, only);
        let mut lines = Vec::new();
        while log.read(ended).unwrap() {
            lines.extend(log.take());
        }
        lines
    }

    #[test]
    fn lines_are_chosen_by_the_protection_domain_that_wrote_them() {
        assert_eq!(lines(LOG.as_bytes(), None, true).len(), 5);
        assert_eq!(
            lines(LOG.as_bytes(), Some("nic"), false),
            ["[    1.500000] nic: link up"]
        );
        assert_eq!(lines(LOG.as_bytes(), Some("nic"), true).len(), 2);
        assert!(lines(LOG.as_bytes(), Some("ni"), true).is_empty());
        assert_eq!(writer("[nic: x"), None);
        assert_eq!(writer("[ x ] nic: x"), None);
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        let text = b"\x1b[2J\xff[    0.000001] vault: x\n";
        assert_eq!(
            lines(text, None, true),
            ["?[2J\u{fffd}[    0.000001] vault: x"]
        );
    }

    #[test]
    fn a_line_is_printed_once_it_has_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.log");
        fs::write(&path, "[    0.000001] a: \u{fc}b".as_bytes()).unwrap();
        let mut log = Log::new(&path, None);
        assert!(log.read(false).unwrap() && log.take().is_empty());
        assert!(!log.read(false).unwrap());
        fs::write(&path, "[    0.000001] a: \u{fc}berall\n".as_bytes()).unwrap();
        log.read(false).unwrap();
        assert_eq!(log.take(), ["[    0.000001] a: \u{fc}berall"]);
    }

    #[test]
    fn a_protection_domain_without_lines_is_named_with_those_that_have_some() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.log");
        fs::write(&path, LOG).unwrap();
        let mut log = Log::new(&path, Some("tls"));
        log.read(true).unwrap();
        let said = log.unmatched().unwrap();
        assert_eq!(
            said,
            "there is no line of `tls`; there are lines of nic, supervisor, tcpip"
        );
    }

    fn options(name: Option<&str>) -> Options {
        Options {
            name: name.map(str::to_string),
            board: None,
            follow: false,
            pd: None,
        }
    }

    #[test]
    fn a_system_that_runs_is_found_and_one_that_does_not_has_its_last_log() {
        let output = tempfile::tempdir().unwrap();
        let said = |name| find(output.path(), &options(name)).unwrap_err().to_string();
        assert!(said(None).contains("no system runs"));
        assert!(said(Some("echo")).contains("`echo` is not running and has no log"));
        let folder = output.path().join("pc99/echo");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("serial.log"), LOG).unwrap();
        let found = find(output.path(), &options(Some("echo"))).unwrap();
        assert_eq!((found.path, found.run), (folder.join("serial.log"), None));
        // This process takes the place of QEMU.
        let process = Process::of(std::process::id()).unwrap();
        let run = Run::new("echo", "pc99", process, Path::new("/elsewhere.log"));
        run.save(&folder).unwrap();
        for name in [None, Some("echo")] {
            let found = find(output.path(), &options(name)).unwrap();
            assert_eq!(found.path, Path::new("/elsewhere.log"));
            assert!(found.run.is_some());
        }
        let other = output.path().join("virt/echo");
        fs::create_dir_all(&other).unwrap();
        Run::new("echo", "virt", process, Path::new("s"))
            .save(&other)
            .unwrap();
        assert!(said(Some("echo")).contains("echo on pc99, echo on virt"));
    }
}
