//! Hand-written Microkit system files (`.system`), read as far as Selkie's model supports them.
//!
//! On a board of the Microkit SDK the SDK's own tool decides: parts that the model does not support, or would refuse,
//! are only notes. On pc99 Selkie makes the image itself, so it must support the whole file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use microkit_sdf::{Problem, Reading, System};

use crate::board::{Board, KernelKind};
use crate::elf::Executable;
use crate::files;

/// Maximum size of a program's ELF file in bytes.
pub(super) const MAX_PROGRAM: u64 = 1 << 30;

/// A system file that was read.
#[derive(Debug)]
pub(super) struct SystemFile {
    /// The file.
    pub path: PathBuf,
    /// The file's name without the extension, which is the system's name.
    pub name: String,
    /// The folder that the paths in it are relative to.
    pub base: PathBuf,
    /// The system in it. It lacks the parts that have problems.
    pub system: System,
    /// Faults, and parts that the model does not support.
    problems: Vec<Problem>,
}

impl SystemFile {
    /// Reads a file for a board.
    ///
    /// # Errors
    /// When the file, or a program that it names, cannot be read.
    pub fn read(path: &Path, board: &Board) -> anyhow::Result<Self> {
        let text = files::read_text(path, files::MAX_TEXT)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let Reading { system, problems } = microkit_sdf::read(&text, &board.target, &[&base]);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let file = Self {
            path: path.to_owned(),
            name: name.into_owned(),
            base,
            system,
            problems,
        };
        for image in file.images() {
            let place = file.base.join(image);
            if place.exists() {
                files::regular(&place)
                    .with_context(|| format!("the program {} cannot be used", place.display()))?;
            }
        }
        Ok(file)
    }

    /// Returns the program images that the file names.
    pub fn images(&self) -> impl Iterator<Item = &Path> {
        let domains = self.system.domains().into_iter();
        domains.map(|(domain, _)| domain.program_image.as_path())
    }

    /// Returns the faults, each with its place. With `last_word`, Microkit's tool checks the unsupported parts, so they
    /// are left out.
    fn faults(&self, last_word: bool) -> Vec<String> {
        let faults = self.problems.iter();
        let faults = faults.filter(|problem| !(last_word && problem.unsupported));
        faults.map(|problem| self.placed(problem)).collect()
    }

    fn placed(&self, problem: &Problem) -> String {
        format!("{}:{problem}", self.path.display())
    }

    /// Refuses a system that this board cannot run.
    ///
    /// # Errors
    /// All problems, each with its place.
    pub fn judge(&self, board: &Board) -> anyhow::Result<()> {
        let last_word = board.kernel == KernelKind::Microkit;
        let faults = self.faults(last_word);
        if faults.is_empty() {
            return Ok(());
        }
        let hint = if !last_word && self.problems.iter().any(|problem| problem.unsupported) {
            format!(
                "\non `{}` Selkie makes the image itself; a board of the Microkit SDK (`--board`) takes all that the SDK's tool takes",
                board.name
            )
        } else {
            String::new()
        };
        bail!("the system file is wrong\n{}{hint}", faults.join("\n"))
    }

    /// Returns a note for each part that Selkie does not support or would refuse, where Microkit's tool decides.
    pub fn notes(&self) -> Vec<String> {
        let note = |problem: &Problem| {
            let place = self.placed(problem);
            if problem.unsupported {
                format!("{place} by Selkie: only Microkit's tool checks it")
            } else {
                format!("{place}: Selkie would refuse that; Microkit's tool has the last word")
            }
        };
        self.problems.iter().map(note).collect()
    }
}

/// Returns the memory of a program in bytes: its segments, in whole pages. 0 if it is unknown.
pub(super) fn program_memory(elf: &Path, board: &Board) -> u64 {
    let read = files::read(elf, MAX_PROGRAM).ok();
    let program = read.and_then(|bytes| Executable::new(bytes, board.target.architecture).ok());
    program.map_or(0, |program| {
        let segments = program.segments.iter();
        segments
            .map(|segment| segment.page_end() - segment.page_start())
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SMC: &str = "<system>\n<protection_domain name=\"a\" smc=\"true\">\n<program_image path=\"a.elf\" />\n\
                       </protection_domain>\n</system>";

    fn read(text: &str, board: &str) -> (SystemFile, Board, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hand.system");
        fs::write(&path, text).unwrap();
        let board = Board::load(&crate::cli::root(), board).unwrap();
        (SystemFile::read(&path, &board).unwrap(), board, folder)
    }

    #[test]
    fn an_attribute_that_the_model_lacks_is_named_and_is_no_fault_where_the_tool_judges() {
        let (file, board, _folder) = read(SMC, "qemu_virt_aarch64");
        file.judge(&board).unwrap();
        let [note] = &file.notes()[..] else {
            panic!("{:?}", file.notes());
        };
        let said =
            "hand.system:2:29: `smc` is not supported by Selkie: only Microkit's tool checks it";
        assert!(note.ends_with(said), "{note}");
        assert_eq!(file.images().collect::<Vec<_>>(), [Path::new("a.elf")]);
    }

    #[test]
    fn it_is_a_fault_where_selkie_makes_the_image() {
        let (file, board, _folder) = read(SMC, "pc99");
        let error = file.judge(&board).unwrap_err().to_string();
        assert!(
            error.contains("hand.system:2:29: `smc` is not supported"),
            "{error}"
        );
        assert!(error.contains("a board of the Microkit SDK"), "{error}");
    }

    #[test]
    fn a_fault_is_one_on_every_board() {
        let text = SMC.replace("smc=\"true\"", "priority=\"300\"");
        for board in ["pc99", "qemu_virt_riscv64"] {
            let (file, board, _folder) = read(&text, board);
            let error = file.judge(&board).unwrap_err().to_string();
            assert!(
                error.contains("hand.system:2:39: `priority`: 300"),
                "{error}"
            );
            assert!(file.notes()[0].contains("Selkie would refuse that"));
        }
    }

    #[test]
    fn a_program_is_a_regular_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hand.system");
        fs::write(&path, SMC.replace("a.elf", "/dev/zero")).unwrap();
        let board = Board::load(&crate::cli::root(), "qemu_virt_aarch64").unwrap();
        let error = format!("{:#}", SystemFile::read(&path, &board).unwrap_err());
        assert_eq!(
            error,
            "the program /dev/zero cannot be used: it is a device, not a regular file"
        );
    }
}
