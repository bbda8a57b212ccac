//! The ELF files of protection domains: what is loaded, and the symbols that are patched.

use microkit_sdf::Architecture;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{LittleEndian, Object, ObjectSymbol};
use thiserror::Error;

/// An executable that needs nobody to load it but a system builder.
#[derive(Clone, Debug)]
pub struct Executable {
    bytes: Vec<u8>,
    /// The file whose symbols count, if it is another.
    symbols: Option<Vec<u8>>,
    /// Its first instruction.
    pub entry: u64,
    /// What is loaded, by ascending address.
    pub segments: Vec<Segment>,
}

/// A part that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub address: u64,
    /// Size in memory in bytes; what is behind the file's part is zero.
    pub size: u64,
    /// Place of the content in the file.
    pub file_offset: u64,
    /// Size of the content in the file, at most `size`.
    pub file_size: u64,
    /// Whether the program may write it.
    pub write: bool,
    /// Whether it holds code.
    pub execute: bool,
}

/// Why an ELF file cannot be a protection domain.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ElfError {
    /// The file is no 64-bit little-endian ELF file, or is damaged.
    #[error("is not a 64-bit ELF file: {0}")]
    NotElf(String),
    /// It is for another kind of machine.
    #[error("is not an executable at fixed addresses for {0} (link with -static -no-pie)")]
    NotExecutable(&'static str),
    /// It asks for a dynamic linker.
    #[error(
        "needs the dynamic linker ({0}): something in it was linked against the operating system's \
         libraries; a program that uses getrandom 0.2 needs the [patch] of protections/Cargo.toml"
    )]
    Dynamic(&'static str),
    /// It has thread-local variables.
    #[error("has thread-local variables (PT_TLS), which need an operating system")]
    ThreadLocal,
    /// A part of it would be writable and executable.
    #[error("has a segment at {0:#x} that is writable and executable")]
    WritableCode(u64),
    /// Nothing is loaded.
    #[error("has no segment that is loaded")]
    Empty,
    /// Segments overlap, or two of them share a page.
    #[error("has two segments on the page at {0:#x}")]
    SharedPage(u64),
    /// A symbol is not there.
    #[error("has no symbol `{0}`")]
    NoSymbol(String),
    /// A symbol has another size than what is stored there.
    #[error("has a symbol `{symbol}` of {actual} bytes, {expected} are needed")]
    SymbolSize {
        /// The symbol.
        symbol: String,
        /// Bytes.
        actual: u64,
        /// Bytes.
        expected: u64,
    },
    /// A symbol lies where the file has no content.
    #[error("has its symbol `{0}` outside the initialised data")]
    SymbolPlace(String),
}

impl Executable {
    /// Reads and checks an ELF file.
    ///
    /// # Errors
    /// Whatever makes it unfit to be a protection domain.
    pub fn new(bytes: Vec<u8>, architecture: Architecture) -> Result<Self, ElfError> {
        let not_elf = |error: object::Error| ElfError::NotElf(error.to_string());
        let header = elf::FileHeader64::<LittleEndian>::parse(&*bytes).map_err(not_elf)?;
        let endian = header.endian().map_err(not_elf)?;
        if header.e_machine(endian) != machine(architecture)
            || header.e_type(endian) != elf::ET_EXEC
        {
            return Err(ElfError::NotExecutable(architecture.name()));
        }
        let mut segments = Vec::new();
        for program in header.program_headers(endian, &*bytes).map_err(not_elf)? {
            match program.p_type(endian) {
                elf::PT_INTERP => return Err(ElfError::Dynamic("PT_INTERP")),
                elf::PT_DYNAMIC => return Err(ElfError::Dynamic("PT_DYNAMIC")),
                elf::PT_TLS => return Err(ElfError::ThreadLocal),
                elf::PT_LOAD if program.p_memsz(endian) > 0 => {
                    segments.push(segment(program, endian, &bytes)?);
                }
                _ => {}
            }
        }
        segments.sort_by_key(|segment| segment.address);
        let entry = header.e_entry(endian);
        check(&segments)?;
        Ok(Self {
            bytes,
            symbols: None,
            entry,
            segments,
        })
    }

    /// Uses the symbols of another file, since those of this one were stripped.
    pub fn take_symbols_of(&mut self, other: Self) {
        self.symbols = Some(other.bytes);
    }

    /// The file's part of a segment.
    pub fn content(&self, segment: &Segment) -> &[u8] {
        &self.bytes[segment.file_offset as usize..][..segment.file_size as usize]
    }

    /// The whole file, patched so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first address behind the last segment's last page.
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(0, Segment::page_end)
    }

    /// Stores a word in the variable of this name.
    ///
    /// # Errors
    /// When there is none, or it has not the size of a word.
    pub fn patch_word(&mut self, symbol: &str, value: u64) -> Result<(), ElfError> {
        self.patch(symbol, &value.to_le_bytes(), 8)
    }

    /// Stores bytes at the beginning of the variable of this name, which has `size` bytes.
    ///
    /// # Errors
    /// When there is none, or it has another size.
    pub fn patch(&mut self, symbol: &str, value: &[u8], size: u64) -> Result<(), ElfError> {
        let (address, actual) = self.symbol(symbol)?;
        if actual != size {
            return Err(ElfError::SymbolSize {
                symbol: symbol.into(),
                actual,
                expected: size,
            });
        }
        let offset = self
            .segments
            .iter()
            .find(|segment| {
                address >= segment.address && address + size <= segment.address + segment.file_size
            })
            .map(|segment| (address - segment.address + segment.file_offset) as usize)
            .ok_or_else(|| ElfError::SymbolPlace(symbol.into()))?;
        self.bytes[offset..offset + value.len()].copy_from_slice(value);
        Ok(())
    }

    /// The functions: address, size, name as it is in the file.
    pub fn functions(&self) -> Vec<(u64, u64, String)> {
        let Ok(file) = self.symbol_file() else {
            return Vec::new();
        };
        file.symbols()
            .filter(|symbol| symbol.kind() == object::SymbolKind::Text)
            .filter_map(|symbol| {
                Some((
                    symbol.address(),
                    symbol.size(),
                    symbol.name().ok()?.to_owned(),
                ))
            })
            .collect()
    }

    /// The address of a symbol, if there is one of this name.
    pub fn address_of(&self, symbol: &str) -> Option<u64> {
        self.symbol(symbol).ok().map(|(address, _)| address)
    }

    fn symbol_file(&self) -> object::Result<ElfFile64<'_, LittleEndian>> {
        ElfFile64::parse(self.symbols.as_deref().unwrap_or(&self.bytes))
    }

    /// Address and size of a symbol.
    fn symbol(&self, name: &str) -> Result<(u64, u64), ElfError> {
        let missing = || ElfError::NoSymbol(name.into());
        let file = self.symbol_file().map_err(|_| missing())?;
        file.symbols()
            .find(|symbol| symbol.name() == Ok(name) && symbol.is_definition())
            .map(|symbol| (symbol.address(), symbol.size()))
            .ok_or_else(missing)
    }
}

impl Segment {
    /// The first address of its first page.
    pub fn page_start(&self) -> u64 {
        self.address & !0xfff
    }

    /// The first address behind its last page.
    pub fn page_end(&self) -> u64 {
        (self.address + self.size).next_multiple_of(0x1000)
    }
}

/// The ELF number of an architecture.
fn machine(architecture: Architecture) -> elf::Machine {
    match architecture {
        Architecture::X86_64 => elf::EM_X86_64,
        Architecture::Aarch64 => elf::EM_AARCH64,
        Architecture::Riscv64 => elf::EM_RISCV,
    }
}

fn segment(
    program: &elf::ProgramHeader64<LittleEndian>,
    endian: LittleEndian,
    bytes: &[u8],
) -> Result<Segment, ElfError> {
    let flags = program.p_flags(endian);
    let has = |flag: elf::ProgramFlags| flags.0 & flag.0 != 0;
    let segment = Segment {
        address: program.p_vaddr(endian),
        size: program.p_memsz(endian),
        file_offset: program.p_offset(endian),
        file_size: program.p_filesz(endian),
        write: has(elf::PF_W),
        execute: has(elf::PF_X),
    };
    let damaged = |what: &str| ElfError::NotElf(format!("a segment's {what}"));
    let file_end = segment.file_offset.checked_add(segment.file_size);
    if file_end.is_none_or(|end| end > bytes.len() as u64) {
        return Err(damaged("content lies outside the file"));
    }
    let end = segment.address.checked_add(segment.size);
    if segment.file_size > segment.size || end.is_none_or(|end| end > 1 << 47) {
        return Err(damaged("size is out of range"));
    }
    Ok(segment)
}

fn check(segments: &[Segment]) -> Result<(), ElfError> {
    if segments.is_empty() {
        return Err(ElfError::Empty);
    }
    if let Some(segment) = segments
        .iter()
        .find(|segment| segment.write && segment.execute)
    {
        return Err(ElfError::WritableCode(segment.address));
    }
    match segments
        .windows(2)
        .find(|pair| pair[0].page_end() > pair[1].page_start())
    {
        Some(pair) => Err(ElfError::SharedPage(pair[1].page_start())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pc99::elf_writer::{self, Program};
    fn file(programs: &[Program<'_>]) -> Vec<u8> {
        elf_writer::write(0x20_0000, programs)
    }

    const READ: elf::ProgramFlags = elf::PF_R;
    const WRITE: elf::ProgramFlags = elf::ProgramFlags(elf::PF_R.0 | elf::PF_W.0);
    const EXECUTE: elf::ProgramFlags = elf::ProgramFlags(elf::PF_R.0 | elf::PF_X.0);

    fn error(programs: &[Program<'_>]) -> ElfError {
        Executable::new(file(programs), Architecture::X86_64).unwrap_err()
    }

    #[test]
    fn segments_are_read() {
        let bytes = file(&[
            (elf::PT_LOAD, WRITE, 0x20_1010, b"data", 0x2000),
            (elf::PT_LOAD, EXECUTE, 0x20_0000, b"code", 4),
            (elf::PT_GNU_STACK, WRITE, 0, b"", 0),
        ]);
        let executable = Executable::new(bytes, Architecture::X86_64).unwrap();
        assert_eq!(executable.entry, 0x20_0000);
        let [code, data] = executable.segments[..] else {
            panic!("two segments")
        };
        assert_eq!(executable.content(&code), b"code");
        assert_eq!(executable.content(&data), b"data");
        assert!(code.execute && !code.write && data.write && !data.execute);
        assert_eq!((data.page_start(), data.page_end()), (0x20_1000, 0x20_4000));
        assert_eq!(executable.end(), 0x20_4000);
    }

    #[test]
    fn what_needs_an_operating_system_is_refused() {
        let code = (elf::PT_LOAD, EXECUTE, 0x20_0000, &b"code"[..], 4);
        let other = |kind| (kind, READ, 0x30_0000, &b"x"[..], 1);
        assert_eq!(
            error(&[code, other(elf::PT_INTERP)]),
            ElfError::Dynamic("PT_INTERP")
        );
        assert_eq!(
            error(&[code, other(elf::PT_DYNAMIC)]),
            ElfError::Dynamic("PT_DYNAMIC")
        );
        assert_eq!(error(&[code, other(elf::PT_TLS)]), ElfError::ThreadLocal);
    }

    #[test]
    fn writable_code_and_shared_pages_are_refused() {
        let all = elf::ProgramFlags(WRITE.0 | EXECUTE.0);
        assert_eq!(
            error(&[(elf::PT_LOAD, all, 0x20_0000, b"x", 1)]),
            ElfError::WritableCode(0x20_0000)
        );
        assert_eq!(
            error(&[
                (elf::PT_LOAD, READ, 0x20_0000, b"x", 0x1001),
                (elf::PT_LOAD, READ, 0x20_1800, b"x", 1),
            ]),
            ElfError::SharedPage(0x20_1000)
        );
        assert_eq!(error(&[]), ElfError::Empty);
    }

    #[test]
    fn programs_for_another_architecture_are_refused() {
        let bytes = file(&[(elf::PT_LOAD, EXECUTE, 0x20_0000, b"code", 4)]);
        let error = Executable::new(bytes, Architecture::Riscv64).unwrap_err();
        assert_eq!(error, ElfError::NotExecutable("riscv64"));
    }

    #[test]
    fn damaged_files_are_refused() {
        assert!(matches!(
            Executable::new(b"MZ".to_vec(), Architecture::X86_64),
            Err(ElfError::NotElf(_))
        ));
        let mut bytes = file(&[(elf::PT_LOAD, READ, 0x20_0000, b"x", 1)]);
        bytes.truncate(bytes.len() - 1);
        assert!(matches!(
            Executable::new(bytes, Architecture::X86_64),
            Err(ElfError::NotElf(_))
        ));
        assert!(matches!(
            error(&[(elf::PT_LOAD, READ, u64::MAX - 1, b"x", 1)]),
            ElfError::NotElf(_)
        ));
    }
}
