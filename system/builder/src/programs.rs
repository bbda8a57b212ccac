//! Building the programs of protection domains (PDs), freestanding, with stable Rust.
//!
//! One `cargo build` makes all of them, for the prebuilt `core` and `alloc` of a Linux target: that is the target whose
//! processor features and C code the crates know. What an operating system would bring is left out (no start files,
//! no libraries: the library folder holds empty archives for those that crates name), and what remains is checked:
//! a program that needs a dynamic linker or thread-local storage is refused.
//!
//! The same sources give the same bytes in any folder, and no path of the machine is in them: paths are mapped to
//! `/selkie`, `/cargo` and `/rustc`, and crates are told apart by what they are instead of where they lie
//! (`programs/rustc`).

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs, thread};

use microkit_sdf::Architecture;
use thiserror::Error;

use crate::elf::{ElfError, Executable};

mod platform;

pub use platform::{Compiler, Kernel, Platform, Variant, c_compiler, triple};
use platform::{Folders, Toolchain};

const LINKER_SCRIPT: &str = include_str!("programs/pd.ld");

/// Stands before rustc: see there.
const WRAPPER_NAME: &str = "rustc";
const WRAPPER: &str = include_str!("programs/rustc");

/// Stands before that for [`Variant::Unwiped`]: see there.
const UNWIPED_WRAPPER_NAME: &str = "rustc-unwiped";
const UNWIPED_WRAPPER: &str = include_str!("programs/rustc-unwiped");

/// Libraries of the operating system that crates name.
const EMPTY_LIBRARIES: [&str; 7] = ["c", "m", "rt", "pthread", "util", "dl", "gcc_s"];

/// Why there are no programs.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// Cargo could not be started.
    #[error("cannot start `cargo`: {0}; install Rust with rustup (https://rustup.rs)")]
    Cargo(io::Error),
    /// The compiler could not be started.
    #[error("cannot start `rustc`: {0}; install Rust with rustup (https://rustup.rs)")]
    Rustc(io::Error),
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The compiler or the linker refused something.
    #[error("building the programs failed:\n{0}")]
    Build(String),
    /// Cargo built no program of this name.
    #[error(
        "there is no program `{0}`: no package in protections/ makes an executable of this name"
    )]
    Missing(String),
    /// A program cannot be a protection domain.
    #[error("{}: the program {error}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ElfError,
    },
}

/// Builds programs (executables of the protections workspace); gives the ELF file of each. `root` is the repository's folder; `output`
/// takes what Cargo makes (`target/protections`). `progress` gets each line that Cargo says.
///
/// # Errors
/// When something does not build, or a program is not fit to be a protection domain.
pub fn build(
    root: &Path,
    output: &Path,
    programs: &[&str],
    platform: &Platform,
    progress: &mut dyn FnMut(&str),
) -> Result<BTreeMap<String, PathBuf>, ProgramError> {
    let support = output.join("support");
    write_support(&support)?;
    let toolchain = toolchain(root)?;
    let folders = Folders {
        root,
        support: &support,
        cargo_home: &cargo_home(),
        toolchain: &toolchain,
    };
    let mut cargo = command(&folders, output, programs, platform)
        .spawn()
        .map_err(ProgramError::Cargo)?;
    let (executables, said) = watch(&mut cargo, progress);
    let status = cargo.wait().map_err(ProgramError::Cargo)?;
    if !status.success() {
        return Err(ProgramError::Build(said));
    }
    let mut built = BTreeMap::new();
    for program in programs {
        let path = executables
            .get(*program)
            .ok_or_else(|| ProgramError::Missing((*program).into()))?;
        check(path, platform.architecture)?;
        built.insert((*program).to_owned(), path.clone());
    }
    Ok(built)
}

/// Checks that a program is fit to be a protection domain.
///
/// # Errors
/// [`ProgramError::File`] or [`ProgramError::Unfit`].
pub fn check(path: &Path, architecture: Architecture) -> Result<Executable, ProgramError> {
    let bytes = fs::read(path).map_err(|error| file_error(path, error))?;
    Executable::new(bytes, architecture).map_err(|error| ProgramError::Unfit {
        path: path.into(),
        error,
    })
}

/// The table of the functions of a system's PDs (name, ELF file), for the supervisor.
///
/// # Errors
/// [`ProgramError::File`] or [`ProgramError::Unfit`].
pub fn symbols(
    domains: &[(&str, &Path)],
    architecture: Architecture,
) -> Result<Vec<u8>, ProgramError> {
    let mut writer = symbols::Writer::default();
    for (name, path) in domains {
        let functions = check(path, architecture)?.functions().into_iter();
        let functions = functions.map(|(address, size, mangled)| symbols::Function {
            address,
            size,
            name: format!("{:#}", rustc_demangle::demangle(&mangled)),
        });
        writer.add(name, functions);
    }
    Ok(writer.to_bytes())
}

/// The linker script, the empty libraries, and what stands before rustc.
fn write_support(folder: &Path) -> Result<(), ProgramError> {
    /// An archive without members.
    const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";
    fs::create_dir_all(folder).map_err(|error| file_error(folder, error))?;
    let libraries = EMPTY_LIBRARIES.map(|name| (format!("lib{name}.a"), EMPTY_ARCHIVE));
    let scripts = [
        ("pd.ld", LINKER_SCRIPT),
        (WRAPPER_NAME, WRAPPER),
        (UNWIPED_WRAPPER_NAME, UNWIPED_WRAPPER),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes()));
    for (name, content) in libraries.into_iter().chain(scripts) {
        let path = folder.join(name);
        // Untouched when unchanged, so that nothing is linked again for it.
        if fs::read(&path).is_ok_and(|present| present == content) {
            continue;
        }
        fs::write(&path, content).map_err(|error| file_error(&path, error))?;
    }
    for name in [WRAPPER_NAME, UNWIPED_WRAPPER_NAME] {
        let wrapper = folder.join(name);
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))
            .map_err(|error| file_error(&wrapper, error))?;
    }
    Ok(())
}

fn command(
    folders: &Folders<'_>,
    output: &Path,
    programs: &[&str],
    platform: &Platform,
) -> Command {
    let Folders { root, support, .. } = *folders;
    let wrapper = match platform.variant {
        Variant::Debug | Variant::Release => WRAPPER_NAME,
        Variant::Unwiped => UNWIPED_WRAPPER_NAME,
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root)
        .arg("build")
        .arg("--manifest-path")
        .arg(root.join("protections/Cargo.toml"))
        .args(["--target", triple(platform.architecture)])
        .args(["--profile", platform.variant.profile()])
        .arg("--target-dir")
        .arg(output)
        .arg("--message-format=json-render-diagnostics")
        // With the whole workspace selected, Cargo unites the features of all its packages, not only of those that this
        // system needs: so a program has the same bytes in every system.
        .arg("--workspace")
        .args(programs.iter().flat_map(|program| ["--bin", program]))
        .envs(platform.environment(folders))
        .env("RUSTC_WRAPPER", support.join(wrapper))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // What a calling Cargo sets for its own build is not meant for this one.
    for name in [
        "RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CFLAGS",
    ] {
        command.env_remove(name);
    }
    command
}

/// Asks the compiler that builds in this folder.
fn toolchain(root: &Path) -> Result<Toolchain, ProgramError> {
    let ask = |arguments: &[&str]| {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let output = rustc.current_dir(root).args(arguments).output();
        let output = output.map_err(ProgramError::Rustc)?;
        Ok::<_, ProgramError>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let version = ask(&["-vV"])?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .unwrap_or("unknown");
    Ok(Toolchain {
        sources: Path::new(ask(&["--print", "sysroot"])?.trim_end()).join("lib/rustlib/src/rust"),
        name: format!("/rustc/{commit}"),
    })
}

fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(
        || env::home_dir().unwrap_or_default().join(".cargo"),
        PathBuf::from,
    )
}

/// Passes on what Cargo says; gives the executables by name, and all that was said.
fn watch(cargo: &mut Child, progress: &mut dyn FnMut(&str)) -> (BTreeMap<String, PathBuf>, String) {
    let messages = cargo.stdout.take();
    let artefacts = thread::spawn(move || messages.map(executables).unwrap_or_default());
    let mut said = String::new();
    if let Some(lines) = cargo.stderr.take() {
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            progress(&line);
            said.push_str(&line);
            said.push('\n');
        }
    }
    (artefacts.join().unwrap_or_default(), said)
}

/// The executables among Cargo's messages (Cargo book, "External tools").
fn executables(messages: impl Read) -> BTreeMap<String, PathBuf> {
    BufReader::new(messages)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(&line).ok()?;
            let name = message["target"]["name"].as_str()?;
            let path = message["executable"].as_str()?;
            Some((name.to_owned(), path.into()))
        })
        .collect()
}

fn file_error(path: &Path, error: io::Error) -> ProgramError {
    ProgramError::File {
        path: path.into(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the wrapper hands to rustc, here a shell that prints it.
    fn wrapped(version: &str, arguments: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        write_support(folder.path()).unwrap();
        let output = Command::new(folder.path().join(WRAPPER_NAME))
            .args(["echo"])
            .args(arguments)
            .env("CARGO_PKG_NAME", "channel")
            .env("CARGO_PKG_VERSION", version)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn a_crate_is_told_by_what_it_is_and_not_by_where_it_lies() {
        let crates = ["--crate-name", "channel", "--cfg", "feature=\"a b\""];
        let here = wrapped(
            "1.0.0",
            &[&crates[..], &["/here/lib.rs", "-C", "metadata=1"]].concat(),
        );
        let there = wrapped(
            "1.0.0",
            &[&crates[..], &["/there/lib.rs", "-C", "metadata=2"]].concat(),
        );
        assert_eq!(here.replace("/here", "/there"), there);
        assert!(
            here.starts_with(
                "--crate-name channel --cfg feature=\"a b\" /here/lib.rs -C metadata="
            )
        );
        let other = wrapped(
            "1.0.1",
            &[&crates[..], &["/here/lib.rs", "-C", "metadata=1"]].concat(),
        );
        assert_ne!(here, other);
        assert_eq!(wrapped("1", &["-vV"]), "-vV");
    }

    #[test]
    fn executables_are_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"pd"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"echo"},"executable":"/t/echo"}
not json
{"reason":"build-finished","success":true}"#;
        let found = executables(messages.as_bytes());
        assert_eq!(
            found,
            [("echo".to_owned(), PathBuf::from("/t/echo"))].into()
        );
    }
}
