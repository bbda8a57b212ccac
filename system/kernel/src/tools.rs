//! The programs that the kernel's build needs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::KernelError;

/// Something that has to be installed before a kernel can be built.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MissingTool {
    /// The program, or the Python module.
    pub tool: String,
    /// The package of Debian 12 and 13 that holds it.
    pub debian_package: &'static str,
}

/// Programs and the Debian packages that hold them.
const PROGRAMS: [(&str, &str); 6] = [
    ("gcc", "gcc"),
    ("cpp", "cpp"),
    ("ld", "binutils"),
    ("objcopy", "binutils"),
    ("make", "make"),
    ("xmllint", "libxml2-utils"),
];

/// Python modules and the Debian packages that hold them.
const MODULES: [(&str, &str); 3] = [
    ("ply", "python3-ply"),
    ("six", "python3-six"),
    ("tempita", "python3-tempita"),
];

/// The interpreter that Debian's packages bring modules to. Another `python3` that comes first in `PATH` has none
/// of them.
const DEBIAN_PYTHON: &str = "/usr/bin/python3";

/// What is missing on this machine, each with the Debian package to install. Empty: [`build`](crate::build)
/// can run.
pub fn missing_tools() -> Vec<MissingTool> {
    let programs = PROGRAMS
        .into_iter()
        .filter(|(program, _)| find_program(program).is_none())
        .map(|(program, debian_package)| MissingTool {
            tool: program.to_string(),
            debian_package,
        });
    programs.chain(missing_python()).collect()
}

/// The tools that were found.
pub(crate) struct Tools {
    /// A Python 3 that has the modules.
    pub(crate) python: PathBuf,
}

impl Tools {
    pub(crate) fn find() -> Result<Self, KernelError> {
        let missing = missing_tools();
        match suitable_python() {
            Some(python) if missing.is_empty() => Ok(Self { python }),
            _ => Err(KernelError::MissingTools(missing)),
        }
    }

    /// The versions of the tools that make a difference to the kernel's bytes, as they print them.
    pub(crate) fn versions(&self) -> String {
        let programs = ["gcc", "ld", "objcopy"].map(PathBuf::from);
        programs
            .iter()
            .chain([&self.python])
            .map(|program| first_line_of_version(program))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn first_line_of_version(program: &Path) -> String {
    let output = Command::new(program)
        .arg("--version")
        .env("LC_ALL", "C")
        .output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .to_string(),
        Err(error) => error.to_string(),
    }
}

fn missing_python() -> Vec<MissingTool> {
    if suitable_python().is_some() {
        return Vec::new();
    }
    let debian = Path::new(DEBIAN_PYTHON);
    let interpreter = (!debian.exists()).then(|| MissingTool {
        tool: DEBIAN_PYTHON.to_string(),
        debian_package: "python3",
    });
    let modules = MODULES
        .into_iter()
        .filter(|(module, _)| !has_modules(debian, &[module]))
        .map(|(module, debian_package)| MissingTool {
            tool: format!("{DEBIAN_PYTHON} module {module}"),
            debian_package,
        });
    interpreter.into_iter().chain(modules).collect()
}

/// The first `python3` that has all modules: Debian's, then those in `PATH`.
fn suitable_python() -> Option<PathBuf> {
    [PathBuf::from(DEBIAN_PYTHON)]
        .into_iter()
        .chain(programs_named("python3"))
        .find(|python| has_modules(python, &MODULES.map(|(module, _)| module)))
}

fn has_modules(python: &Path, modules: &[&str]) -> bool {
    Command::new(python)
        .arg("-c")
        .arg(format!("import {}", modules.join(",")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn find_program(name: &str) -> Option<PathBuf> {
    programs_named(name).next()
}

/// All executable files of a name in `PATH`.
fn programs_named(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let name = name.to_string();
    folders
        .into_iter()
        .map(move |folder| folder.join(&name))
        .filter(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
