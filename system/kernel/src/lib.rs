//! Configures and builds the seL4 kernel of the pc99 board.
//!
//! The source is seL4 5.0.0 as the crates.io package `sel4-sys` 0.0.28 carries it: Cargo downloads it and
//! checks its checksum, [`build`] copies it into a folder under `target/`, corrects bugs there
//! ([`Fix`]), writes the configuration ([`Config`]) and runs the kernel's own Makefile. The result is a
//! function of the source, the fixes, the configuration and the tools alone: the folder, the user and the
//! date leave no trace in its bytes.
//!
//! The kernel is licensed under the GPL, version 2. It is built on the user's machine and is not part of this
//! repository.
//!
//! ```no_run
//! use selkie_kernel::{Config, build, missing_tools};
//!
//! assert!(missing_tools().is_empty());
//! let kernel = build(
//!     ".".as_ref(),
//!     "target/selkie/pc99/kernel".as_ref(),
//!     &Config::release(),
//!     &mut |step| println!("{step}"),
//! )?;
//! println!("seL4 {} at {}", kernel.version, kernel.elf.display());
//! # Ok::<(), selkie_kernel::KernelError>(())
//! ```
#![forbid(unsafe_code)]

mod cache;
mod configuration;
mod error;
mod fixes;
mod make;
mod source;
mod tools;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use cache::Key;
use error::IoContext;
pub use error::KernelError;
pub use fixes::Fix;
use source::Source;
use tools::Tools;
pub use tools::{MissingTool, missing_tools};

/// The version of the kernel that [`build`] builds.
pub const VERSION: &str = "5.0.0";

/// Which variant of the kernel to build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Config {
    /// With the kernel's assertions, its output on COM1 and the debug system calls.
    pub debug: bool,
    /// Leaves one fix out. Only the tests that show what the fix is for want that.
    pub without: Option<Fix>,
}

impl Config {
    /// The kernel for use: it prints nothing and has no debug system calls.
    pub const fn release() -> Self {
        Self {
            debug: false,
            without: None,
        }
    }

    /// The kernel for development.
    pub const fn debug() -> Self {
        Self {
            debug: true,
            without: None,
        }
    }

    /// The name of the folder that the variant is built in.
    fn name(&self) -> String {
        let variant = if self.debug { "debug" } else { "release" };
        match self.without {
            None => variant.to_string(),
            Some(fix) => format!("{variant}-without-{}", fix.name()),
        }
    }
}

/// A built kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The bootable file: a 32-bit ELF with a Multiboot 1 header and without debug information.
    pub elf: PathBuf,
    /// The same kernel as a 64-bit ELF with symbols, for a debugger.
    pub symbols: PathBuf,
    /// The kernel's version, [`VERSION`].
    pub version: &'static str,
    /// The SHA-256 of the file at `elf`, in hexadecimal.
    pub sha256: String,
    /// The size of the file at `elf` in bytes.
    pub size: u64,
    /// Whether this call built it; otherwise it lay in `out` already.
    pub rebuilt: bool,
}

/// Builds the kernel, or finds it built from the same inputs, in a folder of its own inside `out`.
///
/// `workspace_root` is the folder of the `Cargo.toml` whose workspace holds this crate; `progress` gets a
/// line for each step. A build takes about ten seconds; finding it built, a fraction of one. Two
/// calls for the same folder, in one process or in two, wait for each other.
///
/// # Errors
/// [`KernelError`], which says what to do about it. Nothing that could be taken for a kernel is left
/// behind by a build that failed.
pub fn build(
    workspace_root: &Path,
    out: &Path,
    config: &Config,
    progress: &mut dyn FnMut(&str),
) -> Result<Kernel, KernelError> {
    let folder = out.join(config.name());
    fs::create_dir_all(&folder).at("create", &folder)?;
    // The Makefile runs elsewhere, so a relative path would not do.
    let folder = fs::canonicalize(&folder).at("find", &folder)?;
    let lock_path = folder.join("lock");
    let lock = File::create(&lock_path).at("create", &lock_path)?;
    lock.lock().at("lock", &lock_path)?;

    let tools = Tools::find()?;
    let source = Source::find(workspace_root)?;
    let header = configuration::header(&source.shipped_configuration()?, config)?;
    let key = Key::new(&source, config, &header, &tools)?;
    if let Some(kernel) = cache::find(&folder, &key) {
        return Ok(kernel);
    }

    cache::forget(&folder)?;
    let work = Work::new(&folder)?;
    let work = work.path();
    progress(&format!("preparing the source of seL4 {VERSION}"));
    let tree = work.join("source");
    source.copy(&tree)?;
    for fix in Fix::ALL
        .into_iter()
        .filter(|fix| config.without != Some(*fix))
    {
        fix.apply(&tree)?;
    }
    configuration::write(&tree, &header)?;
    let symbols = make::run(&tools, work, config, &folder.join("build.log"), progress)?;
    cache::store(&folder, &key, &symbols)
}

/// The folder that a kernel is built in. It is removed when this value is dropped.
struct Work(tempfile::TempDir);

impl Work {
    /// Makes a folder inside `folder`, or, if the Makefile cannot handle that path, among the system's temporary files.
    /// The kernel does not depend on the choice.
    fn new(folder: &Path) -> Result<Self, KernelError> {
        let mut name = tempfile::Builder::new();
        name.prefix("work-");
        let made = match make::takes(folder) {
            true => name.tempdir_in(folder).at("create", folder)?,
            false => name.tempdir().at("create", &std::env::temp_dir())?,
        };
        Ok(Self(made))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}
