//! Installing Debian packages, on machines whose package state is not always tidy.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::ui::{Step, Ui};

/// Runs `apt-get` with the right to.
#[derive(Debug)]
pub(super) struct Installer {
    /// What comes before `apt-get`: nothing for root.
    prefix: &'static [&'static str],
    log: PathBuf,
}

impl Installer {
    /// An installer that logs to this file.
    ///
    /// # Errors
    /// When there is no `apt-get`, this user may not use it without typing a password, or the log cannot be written.
    pub fn new(log: &Path) -> anyhow::Result<Self> {
        if super::find_program("apt-get").is_none() {
            bail!("there is no apt-get here; the names are Debian's");
        }
        let prefix: &[&str] = if rustix::process::geteuid().is_root() {
            &[]
        } else if super::succeeds(Command::new("sudo").args(["-n", "true"])) {
            &["sudo", "-n"]
        } else if super::find_program("sudo").is_none() {
            bail!("only root may install, and there is no sudo");
        } else {
            bail!("only root may install, and sudo asks this user for a password or refuses");
        };
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Self {
            prefix,
            log: log.to_path_buf(),
        })
    }

    /// Installs the packages.
    pub fn install(&self, packages: &[&str], ui: &Ui) -> anyhow::Result<()> {
        // The lists may be absent (a fresh container) or so old that files have gone from the server.
        if let Some(plan) = self.plan(packages)
            && self.apt(&plan, ui).is_ok()
        {
            return Ok(());
        }
        self.apt(&["update".to_string()], ui)?;
        match self.plan(packages) {
            Some(plan) => self.apt(&plan, ui),
            None => bail!(
                "apt-get finds no way to install them: {}",
                self.last_words()
            ),
        }
    }

    /// The first set of arguments with which apt-get says that it would succeed.
    fn plan(&self, packages: &[&str]) -> Option<Vec<String>> {
        let suite = suite().unwrap_or_default();
        let installed = installed_qemu();
        candidates(packages, &suite, &installed)
            .into_iter()
            .find(|plan| self.would_succeed(plan))
    }

    fn would_succeed(&self, plan: &[String]) -> bool {
        // A simulation needs no right.
        let Ok(output) = apt_command(&[]).arg("--simulate").args(plan).output() else {
            return false;
        };
        self.record(&format!("--simulate {}", plan.join(" ")));
        self.record(&String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }

    fn apt(&self, arguments: &[String], ui: &Ui) -> anyhow::Result<()> {
        let line = format!("apt-get {}", arguments.join(" "));
        self.record(&line);
        let step = ui.step(line);
        let result = self.perform(arguments, &step);
        if result.is_ok() {
            step.done("");
        } else {
            step.failed("");
        }
        result
    }

    fn perform(&self, arguments: &[String], step: &Step) -> anyhow::Result<()> {
        let log = OpenOptions::new().append(true).open(&self.log)?;
        let mut child = apt_command(self.prefix)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start apt-get")?;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                self.record(&line);
                step.at(&line);
            }
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("apt-get {} failed: {}", arguments[0], self.last_words());
        }
        Ok(())
    }

    fn record(&self, text: &str) {
        // A log that cannot be written must not stop the installation.
        if let Ok(mut log) = OpenOptions::new().append(true).open(&self.log) {
            let _ = writeln!(log, "{text}");
        }
    }

    /// The last errors of the log.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let errors: Vec<&str> = text.lines().filter(|l| l.starts_with("E:")).collect();
        match errors[errors.len().saturating_sub(2)..] {
            [] => "it gave no reason".to_string(),
            ref last => last.join(" "),
        }
    }
}

/// `apt-get` that asks nothing (configuration files that were changed stay as they are), speaks English and
/// waits for another one to finish.
fn apt_command(prefix: &[&str]) -> Command {
    let mut words = prefix.iter().copied().chain([
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "LC_ALL=C",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=180",
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
    ]);
    let mut command = Command::new(words.next().unwrap_or("env"));
    command.args(words);
    command
}

/// Ways to install, best first. Besides the plain one there are two for a machine on which a part of QEMU
/// comes from backports, which makes the suite's own QEMU uninstallable: everything from backports, or the
/// parts of QEMU back to the suite's version.
fn candidates(packages: &[&str], suite: &str, installed_qemu: &[String]) -> Vec<Vec<String>> {
    let install = |more: &[String]| {
        // Nothing that the user has installed may go.
        let fixed = ["install", "-y", "--no-install-recommends", "--no-remove"];
        let names = packages.iter().copied();
        fixed
            .into_iter()
            .chain(names)
            .map(str::to_string)
            .chain(more.iter().cloned())
            .collect::<Vec<String>>()
    };
    let mut ways = vec![install(&[])];
    if packages.iter().any(|package| package.starts_with("qemu")) && !suite.is_empty() {
        ways.push(install(&["-t".into(), format!("{suite}-backports")]));
        let mut back = vec!["--allow-downgrades".to_string()];
        back.extend(
            installed_qemu
                .iter()
                .filter(|name| !packages.contains(&name.as_str()))
                .map(|name| format!("{name}/{suite}")),
        );
        ways.push(install(&back));
    }
    ways
}

/// The Debian suite's name, such as `bookworm`.
fn suite() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("VERSION_CODENAME="))?;
    Some(line.trim_matches('"').to_string())
}

/// Installed packages whose versions go together with QEMU's.
fn installed_qemu() -> Vec<String> {
    let Ok(output) = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status} ${Package}\n", "qemu-*"])
        .output()
    else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_qemu_has_other_ways_than_the_plain_one() {
        assert_eq!(candidates(&["make", "curl"], "bookworm", &[]).len(), 1);
        assert_eq!(candidates(&["qemu-system-x86"], "", &[]).len(), 1);
        let ways = candidates(
            &["make", "qemu-system-x86"],
            "bookworm",
            &["qemu-utils".into()],
        );
        assert_eq!(
            ways[1][4..],
            ["make", "qemu-system-x86", "-t", "bookworm-backports"]
        );
        assert_eq!(
            ways[2][4..],
            [
                "make",
                "qemu-system-x86",
                "--allow-downgrades",
                "qemu-utils/bookworm"
            ]
        );
    }

    #[test]
    fn the_reason_is_what_apt_said_last() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("setup.log");
        fs::write(&log, "E: one\nReading\nE: two\nE: three\n").unwrap();
        let installer = Installer { prefix: &[], log };
        assert_eq!(installer.last_words(), "E: two E: three");
    }
}
