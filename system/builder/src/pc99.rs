//! The bootable image of a system for the pc99 board: what Microkit's tool does for its boards.
//!
//! [`image`] takes a system, the programs of its protection domains (PDs) and the initialiser, decides everything that
//! can be decided beforehand (crate `initialiser-spec`), and appends it to the initialiser. Addresses, symbols and
//! capability slots are those of Microkit 2.3.0, so that the same program runs on both.
//!
//! What this kernel has not is refused when the system would not be the described one without it (virtual machines,
//! I/O address spaces, MSI), and ignored with a warning when it only promises less (budgets).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use microkit_sdf::{System, Target, Violation};
use thiserror::Error;

use crate::elf::{ElfError, Executable};

mod domains;
pub(crate) mod elf_writer;
mod grants;
mod layout;
#[cfg(test)]
mod tests;

/// The processor and address space of the board.
pub const TARGET: Target = Target::X86_64;

/// A bootable image.
#[derive(Clone, Debug)]
pub struct Image {
    /// An ELF file: the multiboot module of the kernel.
    pub bytes: Vec<u8>,
    /// What the board does not do of what the description says.
    pub warnings: Vec<String>,
    /// RAM in bytes that the initialiser needs besides the image itself. Regions at fixed physical addresses are not
    /// counted.
    pub memory: u64,
    /// What belongs to each PD alone, in bytes: program, stack, kernel objects; by name.
    pub own_memory: BTreeMap<String, u64>,
}

/// Why there is no image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The description breaks a rule of its format.
    #[error("the system description is wrong: {}", messages(.0))]
    Description(Vec<Violation>),
    /// The board cannot do something.
    #[error("{0}: not possible on board pc99: {1}")]
    Unsupported(String, &'static str),
    /// A file could not be read.
    #[error("{owner}: cannot read {}: {error}", path.display())]
    File {
        /// The PD or region.
        owner: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A program cannot be a PD.
    #[error("{domain}: the program {error}")]
    Program {
        /// The PD.
        domain: String,
        /// Why.
        error: ElfError,
    },
    /// A region lies where the program is.
    #[error(
        "{domain}: region `{region}` at {address:#x} overlaps the program, which ends at {program_end:#x}"
    )]
    Overlap {
        /// The PD.
        domain: String,
        /// The region.
        region: String,
        /// Where it is mapped.
        address: u64,
        /// The first address behind the program.
        program_end: u64,
    },
    /// What fills a region at the start is larger than the region.
    #[error("region `{region}`: its content has {content} bytes, the region {size}")]
    Prefill {
        /// The region.
        region: String,
        /// Bytes.
        content: u64,
        /// Bytes.
        size: u64,
    },
    /// The initialiser is not what it should be.
    #[error("the initialiser {0}")]
    Initialiser(ElfError),
}

/// Builds the image of a system. `read` gives the content of the files that the description names (programs, prefills).
///
/// # Errors
/// When the description, a program or a file is wrong, or the board cannot do what is described.
pub fn image(
    system: &System,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    initialiser: &[u8],
) -> Result<Image, ImageError> {
    system.check(&TARGET).map_err(ImageError::Description)?;
    let warnings = domains::warnings(system)?;
    let programs = domains::programs(system, read)?;
    let layout = layout::Layout::new(system, &programs, read)?;
    let (memory, own_memory) = (layout.memory(), layout.own_memory(system, &programs));
    let blob = layout.into_bytes(grants::grants(system)?);
    Ok(Image {
        bytes: attach(initialiser, &blob)?,
        warnings,
        memory,
        own_memory,
    })
}

/// The initialiser with the blob on the page behind it. Symbols are left out: nobody debugs it there.
fn attach(initialiser: &[u8], blob: &[u8]) -> Result<Vec<u8>, ImageError> {
    use object::elf::{PF_R, PF_W, PF_X, PT_LOAD, ProgramFlags};

    let initialiser = Executable::new(initialiser.to_vec(), TARGET.architecture)
        .map_err(ImageError::Initialiser)?;
    // The kernel maps the root task's memory with all permissions, whatever the headers say.
    let flags = ProgramFlags(PF_R.0 | PF_W.0 | PF_X.0);
    let mut segments: Vec<_> = initialiser
        .segments
        .iter()
        .map(|segment| {
            let content = initialiser.content(segment);
            (PT_LOAD, flags, segment.address, content, segment.size)
        })
        .collect();
    segments.push((PT_LOAD, flags, initialiser.end(), blob, blob.len() as u64));
    Ok(elf_writer::write(initialiser.entry, &segments))
}

fn messages(violations: &[Violation]) -> String {
    let messages: Vec<&str> = violations
        .iter()
        .map(|violation| violation.message.as_str())
        .collect();
    messages.join("; ")
}
