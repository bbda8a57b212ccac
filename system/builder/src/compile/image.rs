//! What the builder has to know of a program's ELF file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use microkit_sdf::Architecture;
use sha2_host::{Digest, Sha256};
use wiring::{Entries, Span};

use super::CompileError;
use super::allocate::FIRST_ADDRESS;
use crate::elf::{Executable, Segment};
use crate::plan::Plan;

/// A program's file.
pub(crate) struct Image {
    /// Bytes of memory that its segments take, whole pages.
    pub memory: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The memory that it writes.
    pub writable: Vec<Span>,
    /// Where the initialised part of that begins, and its first content.
    pub data: (u64, Vec<u8>),
    /// Where its thread goes on after a fault, if the program knows how.
    pub entries: Option<Entries>,
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
    let writable = || program.segments.iter().filter(|segment| segment.write);
    let mut filled = writable().filter(|segment| segment.file_size > 0);
    let data = filled.next().map_or((0, Vec::new()), |segment| {
        (segment.address, program.content(segment).to_vec())
    });
    if filled.next().is_some() {
        return Err("it has two parts with initialised data that it may write".into());
    }
    let (restart, retire) = (
        program.address_of("_restart"),
        program.address_of("_retire"),
    );
    let memory = |segment: &Segment| segment.page_end() - segment.page_start();
    let span = |segment: &Segment| Span {
        address: segment.page_start(),
        size: memory(segment),
    };
    Ok(Image {
        memory: program.segments.iter().map(memory).sum(),
        size,
        sha256,
        writable: writable().map(span).collect(),
        data,
        entries: restart
            .zip(retire)
            .map(|(restart, retire)| Entries { restart, retire }),
    })
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    hex::encode(digest)
}
