//! Keeps a built kernel, and knows what it was built from.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2_host::{Digest, Sha256};

use crate::error::{IoContext, KernelError};
use crate::source::Source;
use crate::tools::Tools;
use crate::{Config, Fix, Kernel, VERSION};

const ELF: &str = "kernel.elf32";
const SYMBOLS: &str = "kernel.elf";
const KEY: &str = "inputs";

/// Changes when this crate builds otherwise than before from the same inputs.
const RECIPE: &str = "1";

/// A hash of everything that a kernel is built from.
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn new(
        source: &Source,
        config: &Config,
        header: &str,
        tools: &Tools,
    ) -> Result<Self, KernelError> {
        let mut hash = Sha256::new();
        source.hash_into(&mut hash)?;
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        part(RECIPE);
        part(&config.name());
        part(header);
        part(&tools.versions());
        for fix in Fix::ALL {
            part(&fix.description());
        }
        Ok(Self(hex(hash)))
    }
}

/// The kernel in `folder`, if it was built from these inputs and has not been changed since.
pub(crate) fn find(folder: &Path, key: &Key) -> Option<Kernel> {
    let stored = fs::read_to_string(folder.join(KEY)).ok()?;
    let (inputs, sha256) = stored.trim().split_once('\n')?;
    let kernel = kernel(folder, false).ok()?;
    let same = inputs == key.0 && sha256 == kernel.sha256 && kernel.symbols.exists();
    same.then_some(kernel)
}

/// Takes a kernel that is about to be replaced out of use.
pub(crate) fn forget(folder: &Path) -> Result<(), KernelError> {
    for name in [KEY, ELF, SYMBOLS] {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// Makes the bootable file of the built kernel, and keeps both in `folder`. The key comes last: without it,
/// [`find`] finds nothing.
pub(crate) fn store(folder: &Path, key: &Key, built: &Path) -> Result<Kernel, KernelError> {
    // A Multiboot loader takes 32-bit ELF files only, though the code in it is 64-bit.
    let output = Command::new("objcopy")
        .args(["--strip-debug", "-O", "elf32-i386"])
        .arg(built)
        .arg(folder.join(ELF))
        .output()
        .at("run", Path::new("objcopy"))?;
    if !output.status.success() {
        return Err(KernelError::Failed {
            step: "converting the kernel".to_string(),
            log: folder.join("build.log"),
            tail: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let symbols = folder.join(SYMBOLS);
    // The kernel may have been built in another file system.
    fs::copy(built, &symbols).at("write", &symbols)?;
    let kernel = kernel(folder, true)?;
    let path = folder.join(KEY);
    fs::write(&path, format!("{}\n{}\n", key.0, kernel.sha256)).at("write", &path)?;
    Ok(kernel)
}

fn kernel(folder: &Path, rebuilt: bool) -> Result<Kernel, KernelError> {
    let elf = folder.join(ELF);
    let content = fs::read(&elf).at("read", &elf)?;
    Ok(Kernel {
        elf,
        symbols: folder.join(SYMBOLS),
        version: VERSION,
        sha256: hex(Sha256::new_with_prefix(&content)),
        size: content.len() as u64,
        rebuilt,
    })
}

fn hex(hash: Sha256) -> String {
    use std::fmt::Write;

    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
