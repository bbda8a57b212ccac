//! Runs the command in a copy of the repository whose folder has spaces, commas, quotes, umlauts and a long name; as an
//! unprivileged user where that is possible.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::Completion;
use selkie::cli::root;
use selkie_tests::program::{self, Output};
use selkie_tests::{Failed, ensure, ground};

/// Folders that are not copied.
const LEFT_OUT: [&str; 3] = [".git", "docs", "target"];

/// Debian's unprivileged user, `nobody`, and its group.
const NOBODY: [&str; 6] = [
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    "--",
];

/// Builds and boots the smallest system in that folder, with every path argument in it.
pub fn test() -> Result<Completion, Failed> {
    if ground().is_microkit() {
        // The SDK's tool is tested with a path of the user's choice by `sdk` and `upstream`.
        return Ok(Completion::ignored_with("the pc99 board shows it"));
    }
    let temporary = tempfile::tempdir()?;
    let long = "z".repeat(150);
    let repository = temporary
        .path()
        .join(format!("mein Ordner, ä'\"{long}"))
        .join("Selkie, kopiert");
    copy(&root(), &repository)?;
    let tool = Tool {
        repository,
        as_nobody: may_be_nobody(temporary.path())?,
    };
    let description = tool.repository.join("bare, \"system\".toml");
    fs::copy(root().join("tests/systems/bare.toml"), &description)?;
    tool.give_away(temporary.path())?;
    let description = description.to_string_lossy().into_owned();
    let path = |name: &str| tool.repository.join(name).to_string_lossy().into_owned();
    let (serial, capture, drawing) = (path("serial, ä.log"), path("net, ä.pcap"), path("a, b.svg"));
    tool.run(&["check", &description])?.good()?;
    tool.run(&["diagram", &description, "--output", &drawing])?
        .good()?;
    let run = [
        "run",
        &description,
        "--detach",
        "--serial",
        &serial,
        "--pcap",
        &capture,
    ];
    tool.run(&run)?.good()?;
    let log = || -> Result<bool, Failed> {
        let lines = tool.run(&["logs", "bare"])?.good()?.text();
        Ok(lines.contains("supervisor: watching 1 "))
    };
    let end = Instant::now() + Duration::from_secs(30);
    let up = loop {
        match log() {
            Ok(false) if Instant::now() < end => std::thread::sleep(Duration::from_millis(100)),
            result => break result,
        }
    };
    tool.run(&["stop", "bare"])?.good()?;
    ensure(up?, || fs::read_to_string(&serial).unwrap_or_default())?;
    ensure(
        Path::new(&capture).exists() && Path::new(&drawing).exists(),
        || "a file is missing".into(),
    )?;
    Ok(Completion::Completed)
}

fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::copy(from, to)?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if LEFT_OUT.iter().all(|left_out| name != *left_out) {
            copy(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}

/// Returns whether the tests run as root and the user `nobody` can use the same tools.
fn may_be_nobody(folder: &Path) -> Result<bool, Failed> {
    if fs::metadata(folder)?.uid() != 0 {
        return Ok(false);
    }
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let tool = root().join("target/debug/selkie");
    let mut words = vec!["setpriv".to_string()];
    words.extend(NOBODY.map(str::to_string));
    let test = "cargo --version && rustc --version && test -x \"$0\"";
    words.extend(["sh", "-c", test].map(str::to_string));
    words.push(tool.to_string_lossy().into_owned());
    Ok(program::run(&words, b"", Duration::from_secs(20))?.code == Some(0))
}

/// The built command, with the copy as its repository.
struct Tool {
    repository: PathBuf,
    as_nobody: bool,
}

impl Tool {
    fn run(&self, arguments: &[&str]) -> Result<Output, Failed> {
        let mut words = Vec::new();
        if self.as_nobody {
            words.push("setpriv".to_string());
            words.extend(NOBODY.map(str::to_string));
        }
        let repository = self.repository.to_string_lossy();
        words.extend(["env".to_string(), format!("SELKIE_ROOT={repository}")]);
        let tool = root().join("target/debug/selkie");
        words.push(tool.to_string_lossy().into_owned());
        words.extend(arguments.iter().map(ToString::to_string));
        if arguments[0] == "run" {
            words.extend(super::on_the_board());
        }
        program::run(&words, b"", Duration::from_secs(300))
    }

    /// Lets `nobody` write the copy.
    fn give_away(&self, folder: &Path) -> Result<(), Failed> {
        if self.as_nobody {
            let folder = folder.to_string_lossy().into_owned();
            let words = ["chown", "-R", "65534:65534", &folder];
            program::run(&words, b"", Duration::from_secs(60))?.good()?;
        }
        Ok(())
    }
}
