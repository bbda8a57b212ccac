//! Writing an ELF file that holds only what is loaded.

use object::elf;

/// A program header: type, flags, address, content, size in memory.
pub(crate) type Program<'a> = (elf::ProgramType, elf::ProgramFlags, u64, &'a [u8], u64);

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;

/// An executable for x86_64 (System V gABI 4.1, chapters 4 and 5). Contents begin at the offset in their page that
/// their address has.
pub(crate) fn write(entry: u64, programs: &[Program<'_>]) -> Vec<u8> {
    let mut file = header(entry, programs.len() as u16);
    let mut offset = HEADER + PROGRAM_HEADER * programs.len() as u64;
    let mut offsets = Vec::new();
    for (kind, flags, address, content, size) in programs {
        if !content.is_empty() {
            // The next offset that equals the address modulo the page size.
            offset += address.wrapping_sub(offset) % 0x1000;
        }
        offsets.push(offset);
        file.extend(kind.0.to_le_bytes());
        file.extend(flags.0.to_le_bytes());
        let length = content.len() as u64;
        for word in [offset, *address, *address, length, *size, 0x1000] {
            file.extend(word.to_le_bytes());
        }
        offset += length;
    }
    for ((.., content, _), offset) in programs.iter().zip(offsets) {
        if !content.is_empty() {
            file.resize(offset as usize, 0);
            file.extend(*content);
        }
    }
    file
}

fn header(entry: u64, programs: u16) -> Vec<u8> {
    let mut header = vec![
        0x7f,
        b'E',
        b'L',
        b'F',
        elf::ELFCLASS64.0,
        elf::ELFDATA2LSB.0,
        1,
    ];
    header.resize(16, 0);
    header.extend(elf::ET_EXEC.0.to_le_bytes());
    header.extend(elf::EM_X86_64.0.to_le_bytes());
    header.extend(1_u32.to_le_bytes());
    for word in [entry, HEADER, 0] {
        header.extend(word.to_le_bytes());
    }
    header.extend(0_u32.to_le_bytes());
    // Sizes of the header, of a program header and their number; no section headers.
    for half in [HEADER as u16, PROGRAM_HEADER as u16, programs, 64, 0, 0] {
        header.extend(half.to_le_bytes());
    }
    header
}
