//! The kernel's source, in the folder where Cargo unpacked the crate that carries it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2_host::{Digest, Sha256};

use crate::VERSION;
use crate::configuration;
use crate::error::{IoContext, KernelError};

const CRATE: &str = "sel4-sys";
const CRATE_VERSION: &str = "0.0.28";

/// What the build reads. The rest of the source (the manual, other programs' headers) is not copied.
const PARTS: [&str; 6] = ["Makefile", "VERSION", "include", "src", "tools", "libsel4"];

/// The source as it was published.
pub(crate) struct Source {
    folder: PathBuf,
    /// The files of [`PARTS`], relative to the folder, sorted.
    files: Vec<PathBuf>,
}

impl Source {
    /// Asks Cargo for the folder of the crate; Cargo downloads it where it is not there yet.
    pub(crate) fn find(workspace_root: &Path) -> Result<Self, KernelError> {
        let folder = crate_folder(workspace_root)?.join("seL4");
        let mut files = Vec::new();
        for part in PARTS {
            collect(&folder, Path::new(part), &mut files)?;
        }
        files.sort();
        let version_file = folder.join("VERSION");
        let version = fs::read_to_string(&version_file).at("read", &version_file)?;
        if version.trim() != VERSION {
            return Err(KernelError::NotFetched {
                output: format!("it is seL4 {} and not {VERSION}", version.trim()),
            });
        }
        Ok(Self { folder, files })
    }

    /// The configuration that the source comes with.
    pub(crate) fn shipped_configuration(&self) -> Result<String, KernelError> {
        let path = self.folder.join(configuration::PATH);
        fs::read_to_string(&path).at("read", &path)
    }

    /// Adds the name and content of every file to a hash.
    pub(crate) fn hash_into(&self, hash: &mut Sha256) -> Result<(), KernelError> {
        for file in &self.files {
            let path = self.folder.join(file);
            let content = fs::read(&path).at("read", &path)?;
            hash.update(file.as_os_str().as_encoded_bytes());
            hash.update([0]);
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(&content);
        }
        Ok(())
    }

    /// Copies the source to a folder that does not exist yet. Its scripts stay executable.
    pub(crate) fn copy(&self, to: &Path) -> Result<(), KernelError> {
        for file in &self.files {
            let target = to.join(file);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).at("create", parent)?;
            }
            fs::copy(self.folder.join(file), &target).at("write", &target)?;
            make_writable(&target)?;
        }
        Ok(())
    }
}

/// Cargo's copy may be read-only, and the fixes and the Makefile write into ours.
fn make_writable(path: &Path) -> Result<(), KernelError> {
    use std::os::unix::fs::PermissionsExt;

    let mut permissions = fs::metadata(path).at("read", path)?.permissions();
    permissions.set_mode(permissions.mode() | 0o200);
    fs::set_permissions(path, permissions).at("write", path)
}

fn crate_folder(workspace_root: &Path) -> Result<PathBuf, KernelError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let manifest = workspace_root.join("Cargo.toml");
    let output = Command::new(&cargo)
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .at("run", Path::new(&cargo))?;
    let failed = |output: String| KernelError::NotFetched { output };
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(failed(stderr.trim().to_string()));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| failed(format!("`cargo metadata` gave no JSON: {error}")))?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|package| package["name"] == CRATE && package["version"] == CRATE_VERSION)
        .find_map(|package| Path::new(package["manifest_path"].as_str()?).parent())
        .map(Path::to_path_buf)
        .ok_or_else(|| failed(format!("{} does not depend on it", manifest.display())))
}

/// Adds the file `path`, or all files below the folder `path`, both relative to `base`.
fn collect(base: &Path, path: &Path, files: &mut Vec<PathBuf>) -> Result<(), KernelError> {
    let full = base.join(path);
    if !full.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(&full).at("read", &full)? {
        let name = entry.at("read", &full)?.file_name();
        collect(base, &path.join(name), files)?;
    }
    Ok(())
}
