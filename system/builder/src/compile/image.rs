//! What the builder has to know of a program's ELF file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use microkit_sdf::Architecture;
use sha2_host::{Digest, Sha256};

use super::CompileError;
use super::allocate::FIRST_ADDRESS;
use crate::elf::Executable;
use crate::plan::Plan;

/// A program's file.
pub(crate) struct Image {
    /// Bytes of memory that its segments take, whole pages.
    pub memory: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// Where a program's file lies in the output folder.
pub(crate) fn path(program: &str) -> PathBuf {
    PathBuf::from("pds").join(format!("{program}.elf"))
}

/// Reads the files of all programs of a plan.
pub(crate) fn read(
    plan: &Plan,
    elfs: &BTreeMap<String, PathBuf>,
) -> Result<BTreeMap<String, Image>, CompileError> {
    let mut images = BTreeMap::new();
    for program in plan.programs() {
        let path = elfs
            .get(program)
            .ok_or_else(|| CompileError::NotBuilt(program.to_string()))?;
        let bytes = std::fs::read(path).map_err(CompileError::file(path))?;
        let image = image(bytes, plan.board.target.architecture).map_err(|reason| {
            CompileError::Program {
                program: program.to_string(),
                reason,
            }
        })?;
        images.insert(program.to_string(), image);
    }
    Ok(images)
}

fn image(bytes: Vec<u8>, architecture: Architecture) -> Result<Image, String> {
    let (size, sha256) = (bytes.len() as u64, sha256(&bytes));
    let program = Executable::new(bytes, architecture).map_err(|error| error.to_string())?;
    if program.end() > FIRST_ADDRESS {
        let end = program.end();
        return Err(format!(
            "it ends at {end:#x}, behind {FIRST_ADDRESS:#x}, where regions begin"
        ));
    }
    let pages = program.segments.iter();
    Ok(Image {
        memory: pages.map(|s| s.page_end() - s.page_start()).sum(),
        size,
        sha256,
    })
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
