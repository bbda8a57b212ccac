//! Looking up.

use core::fmt;

use heapless::{String, Vec};

use crate::{MAGIC, NAME};

/// A table of the functions of a system.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// What is behind the magic.
    content: &'a [u8],
}

/// The bytes are no table of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the symbol table is malformed or of another version")
    }
}

impl core::error::Error for Malformed {}

/// The function that an address lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name: the last two parts of its path.
    pub name: String<NAME>,
    /// How far behind its beginning the address lies, in bytes.
    pub offset: u64,
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.name, self.offset)
    }
}

impl<'a> Table<'a> {
    /// The table in these bytes; what is behind it (the rest of the page) is ignored.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let content = bytes.strip_prefix(&MAGIC).ok_or(Malformed)?;
        Ok(Self { content })
    }

    /// The function of a domain's program that an address lies in. `None` also when the table is damaged there.
    pub fn find(&self, domain: &str, address: u64) -> Option<Symbol> {
        let mut cursor = Cursor(self.content);
        let program = program_of(&mut cursor, domain)?;
        let mut found = None;
        for number in 0..cursor.number()? {
            let length = cursor.number()?;
            let list = cursor.bytes(length)?;
            if number == program {
                found = function_at(Cursor(list), address);
            }
        }
        let (name, offset) = found?;
        Some(Symbol {
            name: nth_name(&mut cursor, name)?,
            offset,
        })
    }
}

/// The number of a domain's program.
fn program_of(cursor: &mut Cursor<'_>, domain: &str) -> Option<u64> {
    let mut program = None;
    for _ in 0..cursor.number()? {
        let length = cursor.number()?;
        let name = cursor.bytes(length)?;
        let number = cursor.number()?;
        if name == domain.as_bytes() {
            program = Some(number);
        }
    }
    program
}

/// Number of the name and offset of the function at an address.
fn function_at(mut list: Cursor<'_>, address: u64) -> Option<(u64, u64)> {
    let mut end = 0_u64;
    loop {
        let start = end.checked_add(list.number()?)?;
        let size = list.number()?;
        let name = list.number()?;
        end = start.checked_add(size)?;
        if address < start {
            return None;
        }
        if address < end {
            return Some((name, address - start));
        }
    }
}

fn nth_name(names: &mut Cursor<'_>, number: u64) -> Option<String<NAME>> {
    let mut name = Vec::<u8, NAME>::new();
    // Each round reads two bytes or more, so a number out of range ends with the table.
    for _ in 0..=number {
        let shared = usize::try_from(names.number()?).ok()?;
        let length = names.number()?;
        name.truncate(shared);
        name.extend_from_slice(names.bytes(length)?).ok()?;
    }
    String::from_utf8(name).ok()
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}
