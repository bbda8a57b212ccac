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
    fn purpose(self) -> &'static str {
        match self {
            Self::Build => "to build systems",
            Self::Run => "to run systems",
            Self::Test => "to test",
        }
    }
}

/// One thing that the machine must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its name, as people know it.
    pub name: &'static str,
    /// What it is for.
    pub scope: Scope,
    /// The Debian package that has it.
    pub package: &'static str,
    check: Check,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Check {
    /// A program on PATH (or in the folders of administrators' programs).
    Program(&'static str),
    /// A module that Debian's or the user's python3 imports.
    Module(&'static str),
}

/// Everything, in the order in which it is needed.
pub const REQUIREMENTS: &[Requirement] = &[
    program("make", Scope::Build, "make"),
    program("gcc", Scope::Build, "gcc"),
    program("objcopy", Scope::Build, "binutils"),
    program("xmllint", Scope::Build, "libxml2-utils"),
    program("python3", Scope::Build, "python3"),
    module("ply", "python3-ply"),
    module("six", "python3-six"),
    module("tempita", "python3-tempita"),
    program("qemu-system-x86_64", Scope::Run, "qemu-system-x86"),
    program("spin", Scope::Test, "spin"),
    program("curl", Scope::Test, "curl"),
    program("openssl", Scope::Test, "openssl"),
    program("ping", Scope::Test, "iputils-ping"),
    program("ip", Scope::Test, "iproute2"),
    program("unshare", Scope::Test, "util-linux"),
    program("tshark", Scope::Test, "tshark"),
];

const fn program(name: &'static str, scope: Scope, package: &'static str) -> Requirement {
    Requirement {
        name,
        scope,
        package,
        check: Check::Program(name),
    }
}

const fn module(name: &'static str, package: &'static str) -> Requirement {
    Requirement {
        name,
        scope: Scope::Build,
        package,
        check: Check::Module(name),
    }
}

impl Requirement {
    /// Whether the machine has it.
    pub fn is_met(&self) -> bool {
        match self.check {
            Check::Program(name) => find_program(name).is_some(),
            Check::Module(name) => pythons().any(|python| imports(&python, name)),
        }
    }
}

/// The requirements of this scope and those before it that the machine does not meet.
pub fn missing(scope: Scope) -> Vec<&'static Requirement> {
    REQUIREMENTS
        .iter()
        .filter(|requirement| requirement.scope <= scope && !requirement.is_met())
        .collect()
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

fn install(ui: &Ui, missing: &[&Requirement], log: &Path) -> anyhow::Result<()> {
    let mut packages: Vec<&str> = missing.iter().map(|requirement| requirement.package).collect();
    packages.dedup();
    let installer = apt::Installer::new(log).with_context(|| {
        format!(
            "missing {}: {}. Install with\n    {}\nand run this command again",
            missing[0].scope.purpose(),
            names(missing),
            by_hand(&packages)
        )
    })?;
    ui.say(format!(
        "installing with apt-get {}: {}",
        missing[0].scope.purpose(),
        packages.join(" ")
    ));
    let step = ui.step(format!("apt-get install {}", packages.join(" ")));
    match installer.install(&packages, &|line| step.at(line)) {
        Ok(()) => {
            step.done("");
            Ok(())
        }
        Err(error) => {
            step.failed("");
            Err(error.context(format!(
                "cannot install {}; by hand:\n    {}\nthe full log is {}",
                packages.join(" "),
                by_hand(&packages),
                log.display()
            )))
        }
    }
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

fn names(requirements: &[&Requirement]) -> String {
    let names: Vec<&str> = requirements.iter().map(|r| r.name).collect();
    names.join(", ")
}

/// rustfmt and clippy, which rustup's minimal profile leaves out.
fn rust_components(ui: &Ui, root: &Path) -> anyhow::Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if succeeds(Command::new("cargo").args([command, "--version"]).current_dir(root)) {
            continue;
        }
        ui.say(format!("installing with rustup: {component}"));
        if !succeeds(
            Command::new("rustup")
                .args(["component", "add", component])
                .current_dir(root),
        ) {
            bail!("`cargo {command}` is missing; install it with\n    rustup component add {component}");
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

/// The user's python3 and Debian's: only the latter sees Debian's packages where another comes first on PATH.
fn pythons() -> impl Iterator<Item = PathBuf> {
    let debian = PathBuf::from("/usr/bin/python3");
    find_program("python3")
        .into_iter()
        .chain(debian.is_file().then_some(debian))
}

fn imports(python: &Path, module: &str) -> bool {
    succeeds(Command::new(python).args(["-c", &format!("import {module}")]))
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
        assert!(program("sh", Scope::Build, "dash").is_met());
        assert!(!program("no-such-program", Scope::Build, "none").is_met());
        assert!(!module("no_such_module", "none").is_met());
    }

    #[test]
    fn a_scope_includes_those_before_it() {
        assert!(Scope::Build < Scope::Run && Scope::Run < Scope::Test);
        let scopes: Vec<Scope> = REQUIREMENTS.iter().map(|r| r.scope).collect();
        assert!(scopes.is_sorted());
    }
}
