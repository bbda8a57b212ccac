//! What the tool needs from the machine, and how it gets what is missing.
//!
//! Everything comes from Debian's own packages by `apt-get`, but for one scanner that the tests run. Nothing is installed that a command does not
//! need, and everything that is installed is named first.

mod apt;
mod scanners;

pub use scanners::SSLYZE;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::{Context, Ui};
use crate::board::{Board, KernelKind};
use crate::programs;

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

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Debian package {})", self.name, self.package)
    }
}

/// Programs that testing needs whatever the board, each with its Debian package.
const TEST_PROGRAMS: &[(&str, &str)] = &[
    ("spin", "spin"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("ping", "iputils-ping"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("tshark", "tshark"),
    ("testssl", "testssl.sh"),
    ("c++", "g++"),
    ("dnsmasq", "dnsmasq-base"),
    ("radvd", "radvd"),
];

/// The file by which the packet library of the scripted neighbour (`tests/field`) is known to be installed.
const SCAPY: (&str, &str) = (
    "/usr/lib/python3/dist-packages/scapy/__init__.py",
    "python3-scapy",
);

/// What the machine lacks for these boards, for this scope and those before it.
pub fn missing(root: &Path, scope: Scope, boards: &[&str]) -> Vec<Missing> {
    let mut missing: Vec<Missing> = Vec::new();
    for board in known(root, boards) {
        for lack in missing_for(&board, scope) {
            if !missing.contains(&lack) {
                missing.push(lack);
            }
        }
    }
    if scope == Scope::Test {
        let programs = TEST_PROGRAMS.iter();
        missing.extend(programs.filter_map(|&(name, package)| absent(name, scope, package)));
        let (file, package) = SCAPY;
        missing.extend((!Path::new(file).is_file()).then(|| Missing {
            name: "scapy".to_string(),
            scope,
            package,
        }));
        missing.extend((!scanners::has_venv()).then(|| Missing {
            name: "Python's virtual environments".into(),
            scope,
            package: "python3-venv",
        }));
    }
    missing
}

/// The boards of these names; of one that is unknown, whoever builds for it says so.
fn known(root: &Path, boards: &[&str]) -> Vec<Board> {
    let boards = boards.iter();
    boards
        .filter_map(|name| Board::load(root, name).ok())
        .collect()
}

fn missing_for(board: &Board, scope: Scope) -> Vec<Missing> {
    let mut missing: Vec<Missing> = match board.kernel {
        KernelKind::Pc99 => selkie_kernel::missing_tools()
            .into_iter()
            .map(|tool| Missing {
                name: tool.tool,
                scope: Scope::Build,
                package: tool.debian_package,
            })
            .collect(),
        KernelKind::Microkit => programs::c_compiler(board.target.architecture)
            .and_then(|compiler| absent(compiler.program, Scope::Build, compiler.package))
            .into_iter()
            .collect(),
    };
    if scope >= Scope::Run
        && let Some(machine) = selkie_qemu::machine(&board.name)
    {
        missing.extend(absent(machine.program, Scope::Run, machine.package));
    }
    missing
}

/// A program, if it is missing.
fn absent(name: &str, scope: Scope, package: &'static str) -> Option<Missing> {
    find_program(name).is_none().then(|| Missing {
        name: name.to_string(),
        scope,
        package,
    })
}

/// Installs what is missing for these boards; says what.
///
/// # Errors
/// When it may not install, with the line that an administrator has to run, or when installing failed.
pub(super) fn ensure(context: &Context, scope: Scope, boards: &[&str]) -> anyhow::Result<()> {
    let missing = missing(&context.root, scope, boards);
    if !missing.is_empty() {
        install(&context.ui, &missing, &context.output().join("setup.log"))?;
        let still = self::missing(&context.root, scope, boards);
        if !still.is_empty() {
            bail!(
                "after the installation these are still missing: {}; `selkie doctor` says what is found where",
                names(&still)
            );
        }
    }
    for board in known(&context.root, boards) {
        rust_target(context, programs::triple(board.target.architecture))?;
    }
    if scope == Scope::Test {
        rust_components(&context.ui, &context.root)?;
        scanners::ensure(&context.ui, &context.root);
    }
    Ok(())
}

/// Whether rustc has its libraries for this target.
pub(super) fn has_rust_target(root: &Path, triple: &str) -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", triple])
        .current_dir(root)
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(folder.trim()).is_dir()
    })
}

/// rustc's libraries for a target.
fn rust_target(context: &Context, triple: &str) -> anyhow::Result<()> {
    if has_rust_target(&context.root, triple) {
        return Ok(());
    }
    let ui = &context.ui;
    ui.say(format!("installing with rustup: the target {triple}"));
    let mut rustup = Command::new("rustup");
    rustup
        .args(["target", "add", triple])
        .current_dir(&context.root);
    if succeeds(&mut rustup) && has_rust_target(&context.root, triple) {
        return Ok(());
    }
    bail!(
        "Rust's libraries for {triple} are missing; install them with\n    rustup target add {triple}"
    )
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

/// The line that an administrator runs; Debian's installer leaves sudo out when root has a password.
fn by_hand(packages: &[&str]) -> String {
    let root = rustix::process::geteuid().is_root();
    line(packages, root, find_program("sudo").is_some())
}

fn line(packages: &[&str], root: bool, sudo: bool) -> String {
    let install = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    match (root, sudo) {
        (true, _) => format!("apt-get update && {install}"),
        (false, true) => format!("sudo apt-get update && sudo {install}"),
        (false, false) => format!("su -c 'apt-get update && {install}'"),
    }
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
        let root = crate::cli::root();
        let boards = Board::names(&root);
        let boards: Vec<&str> = boards.iter().map(String::as_str).collect();
        let all = missing(&root, Scope::Test, &boards);
        let some = missing(&root, Scope::Run, &boards[..1]);
        assert!(some.iter().all(|missing| all.contains(missing)));
    }

    #[test]
    fn an_administrator_is_told_one_line() {
        let packages = ["make", "qemu-system-x86"];
        let install = "apt-get install -y --no-install-recommends make qemu-system-x86";
        let update = "apt-get update";
        assert_eq!(
            line(&packages, true, true),
            format!("{update} && {install}")
        );
        assert_eq!(
            line(&packages, false, true),
            format!("sudo {update} && sudo {install}")
        );
        assert_eq!(
            line(&packages, false, false),
            format!("su -c '{update} && {install}'")
        );
    }
}
