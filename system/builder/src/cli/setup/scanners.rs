//! The scanner of TLS servers that Debian does not have: sslyze, from PyPI, in a virtual environment of its own.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::Ui;

/// Where sslyze is, relative to the project's folder.
pub const SSLYZE: &str = "target/selkie/tools/sslyze/bin/sslyze";

/// The version whose findings `tests/scanner-findings.txt` lists.
const REQUIREMENT: &str = "sslyze==6.3.1";

/// Returns true if Python can make virtual environments. Debian has a separate package for that.
pub(super) fn has_venv() -> bool {
    let mut python = Command::new("python3");
    super::succeeds(python.args(["-c", "import ensurepip, venv"]))
}

/// Installs sslyze if it is missing. Without it (on a machine without a network, say) its test is skipped with a message.
pub(super) fn ensure(ui: &Ui, root: &Path) {
    let program = root.join(SSLYZE);
    if program.exists() {
        return;
    }
    let folder = program.ancestors().nth(2).unwrap_or(root);
    ui.say(format!("installing with pip: {REQUIREMENT}"));
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(folder);
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    pip.arg(REQUIREMENT);
    for command in [&mut venv, &mut pip] {
        let output = command.stdin(Stdio::null()).output();
        let error = match output {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let reason = error.lines().last().unwrap_or("no reason was given");
        ui.say(format!("no sslyze, its test will be skipped: {reason}"));
        let _ = fs::remove_dir_all(folder);
        return;
    }
}
