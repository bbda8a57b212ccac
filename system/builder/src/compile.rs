//! From a plan and the built programs to a system: regions, addresses, wirings, files.

pub(crate) mod allocate;
pub(crate) mod bundle;
pub(crate) mod image;
mod origin;
mod wire;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use microkit_sdf::System;
use thiserror::Error;
use wiring::Wiring;

use crate::diagnostics::Source;
use crate::plan::{Content, Plan};
use crate::report::Report;

/// The bytes of each protection's data, by name.
pub(crate) type Contents = Vec<Vec<(String, Vec<u8>)>>;

/// What was built for a plan.
#[derive(Clone, Debug, Default)]
pub struct Artefacts {
    /// The ELF file of each program.
    pub elfs: BTreeMap<String, PathBuf>,
    /// What data of kind `symbols` holds.
    pub symbols: Vec<u8>,
}

/// A system that can be written and booted.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The system's name.
    pub name: String,
    /// Its Microkit description; the paths in it are relative to the folder that it is written to.
    pub system: System,
    /// The wiring of each protection, by its name.
    pub wirings: Vec<Wiring>,
    /// What the system consists of.
    pub report: Report,
    /// A picture of the system (SVG).
    pub diagram: String,
    /// The ELF file of each program.
    programs: BTreeMap<String, PathBuf>,
    /// The prefill files: path in the output folder and contents.
    prefills: Vec<(PathBuf, Vec<u8>)>,
    /// The description.
    source: Arc<Source>,
    /// The places in it that regions and protection domains come from, by their names.
    origins: Vec<(String, Range<usize>)>,
}

/// Why a plan and its programs make no system.
#[derive(Debug, Error)]
pub enum CompileError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A program was not built.
    #[error("the program `{0}` was not built")]
    NotBuilt(String),
    /// A program's file is not one that can be loaded.
    #[error("the program `{program}` cannot be used: {reason}")]
    Program {
        /// The program.
        program: String,
        /// Why not.
        reason: String,
    },
    /// The system does not fit the board.
    #[error(
        "the system needs {needed} bytes of memory with its programs, the board `{board}` has {available}{}",
        larger.as_deref().unwrap_or_default()
    )]
    Memory {
        /// Bytes that it needs.
        needed: u64,
        /// The board.
        board: String,
        /// Bytes that the board has.
        available: u64,
        /// Advice to the user, on a separate line.
        larger: Option<String>,
    },
    /// What the builder made breaks a rule of Microkit, which is a fault of the builder.
    #[error("the builder made a description that breaks Microkit's rules: {0}")]
    Rules(String),
}

impl CompileError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::File { path, error }
    }
}

impl Plan {
    /// Allocates everything for this plan, and puts the parts together.
    ///
    /// # Errors
    /// [`CompileError`], when a program is missing or unusable or the system does not fit.
    pub fn compile(&self, artefacts: &Artefacts) -> Result<Compiled, CompileError> {
        let images = image::read(self, &artefacts.elfs)?;
        let contents = self.contents(artefacts);
        let allocation = allocate::allocate(self, &images, &contents)?;
        let wirings = wire::wirings(self, &images, &allocation, &contents);
        let restarts = wire::restarts(self, &images, &allocation);
        let (system, prefills) = wire::system(self, &allocation, &wirings, &restarts, &contents);
        if let Err(violations) = system.check(&self.board.target) {
            let messages: Vec<String> = violations.into_iter().map(|v| v.message).collect();
            return Err(CompileError::Rules(messages.join("; ")));
        }
        let report = Report::new(self, &system, &images, &prefills);
        Ok(Compiled {
            name: self.name.clone(),
            system,
            wirings,
            report,
            diagram: self.diagram(),
            programs: artefacts.elfs.clone(),
            prefills,
            source: self.source.clone(),
            origins: origin::origins(self, &allocation),
        })
    }

    /// The bytes of each protection's data.
    fn contents(&self, artefacts: &Artefacts) -> Contents {
        let bytes = |content: &Content| match content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Symbols => artefacts.symbols.clone(),
        };
        let protections = self.protections.iter();
        protections
            .map(|protection| {
                let data = protection.data.iter();
                data.map(|(name, content)| (name.clone(), bytes(content)))
                    .collect()
            })
            .collect()
    }
}

impl Compiled {
    /// Writes the system into a folder: `NAME.system`, the programs in `pds/`, what regions hold at start in
    /// `regions/`, `report.json` and `diagram.svg`.
    ///
    /// # Errors
    /// [`CompileError::File`], when a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), CompileError> {
        let write = |path: &Path, bytes: &[u8], mode: u32| {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(CompileError::file(parent))?;
            }
            // What has not changed is not written, so that its time of change says something.
            if std::fs::read(&path).is_ok_and(|old| old == bytes) {
                return Ok(());
            }
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(mode)
                .open(&path);
            file.and_then(|mut file| file.write_all(bytes))
                .map_err(CompileError::file(&path))
        };
        for (path, bytes) in &self.prefills {
            // A vault's data may hold keys.
            write(path, bytes, 0o600)?;
        }
        for (program, path) in &self.programs {
            let bytes = std::fs::read(path).map_err(CompileError::file(path))?;
            write(&image::path(program), &bytes, 0o644)?;
        }
        write(
            Path::new(&format!("{}.system", self.name)),
            self.system.to_xml().as_bytes(),
            0o644,
        )?;
        let report = self.report.to_json();
        write(Path::new("report.json"), report.as_bytes(), 0o644)?;
        write(Path::new("diagram.svg"), self.diagram.as_bytes(), 0o644)
    }
}
