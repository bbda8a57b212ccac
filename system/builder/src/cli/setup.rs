//! What the tool needs from the machine, and how it gets what is missing.
//!
//! Everything comes from Debian's own packages by `apt-get`. Nothing is installed that a command does not
//! need, and everything that is installed is named first.

mod apt;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::{Context, Ui};

/// What a requirement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Building a system.
    Build,
    /// Booting it.
    Run,
    /// Testing it.
    Test,
}

impl Scope {
    pub(super) fn purpose(self) -> &'static str {
        match self {
            Self::Build => "to build systems",
            Self::Run => "to run systems",
            Self::Test => "to test",
        }
    }
}

/// Something that the machine must have and has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name, as people know it.
    pub name: String,
    /// What it is for.
    pub scope: Scope,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// Programs that running and testing need, each with its Debian package; what building needs, the kernel's
/// own build knows.
const PROGRAMS: &[(&str, Scope, &str)] = &[
    ("qemu-system-x86_64", Scope::Run, "qemu-system-x86"),
    ("spin", Scope::Test, "spin"),
    ("curl", Scope::Test, "curl"),
    ("openssl", Scope::Test, "openssl"),
    ("ping", Scope::Test, "iputils-ping"),
    ("ip", Scope::Test, "iproute2"),
    ("unshare", Scope::Test, "util-linux"),
    ("tshark", Scope::Test, "tshark"),
    ("c++", Scope::Test, "g++"),
];

/// What the machine lacks for this scope and those before it.
pub fn missing(scope: Scope) -> Vec<Missing> {
    let kernel = selkie_kernel::missing_tools()
        .into_iter()
        .map(|tool| Missing {
            name: tool.tool,
            scope: Scope::Build,
            package: tool.debian_package,
        });
    let programs = PROGRAMS
        .iter()
        .filter(|(name, needed, _)| *needed <= scope && find_program(name).is_none())
        .map(|&(name, scope, package)| Missing {
            name: name.to_string(),
            scope,
            package,
        });
    kernel.chain(programs).collect()
}

/// Installs what is missing; says what.
///
/// # Errors
/// When it may not install, with the line that an administrator has to run, or when installing failed.
pub(super) fn ensure(context: &Context, scope: Scope) -> anyhow::Result<()> {
    let missing = missing(scope);
    if !missing.is_empty() {
        install(&context.ui, &missing, &context.output().join("setup.log"))?;
        let still = self::missing(scope);
        if !still.is_empty() {
            bail!(
                "after the installation these are still missing: {}; `selkie doctor` says what is found where",
                names(&still)
            );
        }
    }
    if scope == Scope::Test {
        rust_components(&context.ui, &context.root)?;
    }
    Ok(())
}

fn install(ui: &Ui, missing: &[Missing], log: &Path) -> anyhow::Result<()> {
    let mut packages: Vec<&str> = missing.iter().map(|missing| missing.package).collect();
    let mut seen = std::collections::HashSet::new();
    packages.retain(|package| seen.insert(*package));
    let installer = apt::Installer::new(log).with_context(|| {
        format!(
            "these are missing ({}): {}. Install them with\n    {}\nand run this command again",
            purposes(missing),
            names(missing),
            by_hand(&packages)
        )
    })?;
    ui.say(format!(
        "installing with apt-get ({}): {}",
        purposes(missing),
        packages.join(" ")
    ));
    installer.install(&packages, ui).with_context(|| {
        format!(
            "cannot install {}; by hand:\n    {}\nthe full log is {}",
            packages.join(" "),
            by_hand(&packages),
            log.display()
        )
    })
}

/// The line that an administrator runs.
fn by_hand(packages: &[&str]) -> String {
    let sudo = if rustix::process::geteuid().is_root() {
        ""
    } else {
        "sudo "
    };
    format!(
        "{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

fn names(missing: &[Missing]) -> String {
    let names: Vec<&str> = missing.iter().map(|m| m.name.as_str()).collect();
    names.join(", ")
}

fn purposes(missing: &[Missing]) -> String {
    let mut purposes: Vec<&str> = missing.iter().map(|m| m.scope.purpose()).collect();
    purposes.dedup();
    purposes.join(", ")
}

/// rustfmt and clippy, which rustup's minimal profile leaves out.
fn rust_components(ui: &Ui, root: &Path) -> anyhow::Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if succeeds(
            Command::new("cargo")
                .args([command, "--version"])
                .current_dir(root),
        ) {
            continue;
        }
        ui.say(format!("installing with rustup: {component}"));
        if !succeeds(
            Command::new("rustup")
                .args(["component", "add", component])
                .current_dir(root),
        ) {
            bail!(
                "`cargo {command}` is missing; install it with\n    rustup component add {component}"
            );
        }
    }
    Ok(())
}

/// The file of a program on PATH; also where Debian keeps programs of administrators, which an ordinary
/// user's PATH leaves out.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_absent_ones_are_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program").is_none());
    }

    #[test]
    fn a_scope_includes_those_before_it() {
        assert!(Scope::Build < Scope::Run && Scope::Run < Scope::Test);
        let all = missing(Scope::Test);
        assert!(missing(Scope::Run).iter().all(|m| all.contains(m)));
    }

    #[test]
    fn an_administrator_is_told_one_line() {
        let line = by_hand(&["make", "qemu-system-x86"]);
        assert!(line.ends_with("install -y --no-install-recommends make qemu-system-x86"));
    }
}
