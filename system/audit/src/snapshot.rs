//! What a machine holds at one moment, and what is found in it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use selkie_qemu::{Guest, Qmp};

use crate::derive::recover::{PublicKey, ticket_key};
use crate::memory::Memory;
use crate::search::Index;
use crate::{Kind, Layout, LayoutError, Order, Place, Secret};

/// The general registers as QEMU names them.
const GENERAL: [&str; 16] = [
    "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP", "R8 ", "R9 ", "R10", "R11", "R12",
    "R13", "R14", "R15",
];

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// QEMU did not do as asked.
    #[error(transparent)]
    Qemu(#[from] selkie_qemu::Error),
    /// The dump could not be read.
    #[error("the memory dump {path}: {error}")]
    Dump {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// QEMU's list of registers lacks one.
    #[error("QEMU's list of registers has no {0}")]
    Register(&'static str),
}

/// The memory and the registers of a paused machine.
pub struct Snapshot {
    memory: Vec<u8>,
    vectors: Vec<u8>,
    general: Vec<u64>,
    cr3: u64,
}

/// A part of a secret, and where it is.
#[derive(Clone, Debug)]
pub struct Finding<'a> {
    /// The secret.
    pub secret: &'a Secret,
    /// The order of its bytes.
    pub order: Order,
    /// Which byte of it is the first.
    pub offset: usize,
    /// How many bytes.
    pub length: usize,
    /// Its physical address; `None` in a register.
    pub address: Option<u64>,
    /// Whose memory that is.
    pub place: Place,
}

impl Snapshot {
    /// Stops the machine for as long as writing its memory of `mebibytes` down takes.
    ///
    /// # Errors
    /// When QEMU refuses, or the dump cannot be read.
    pub fn take(guest: &Guest, mebibytes: u32) -> Result<Self, SnapshotError> {
        let file = guest.folder().join("memory.dump");
        let mut qmp = guest.qmp()?;
        qmp.pause().map_err(selkie_qemu::Error::from)?;
        let taken = Self::write(&mut qmp, mebibytes, &file);
        qmp.resume().map_err(selkie_qemu::Error::from)?;
        let registers = taken?;
        let memory = fs::read(&file).map_err(dump_error(&file))?;
        // It holds keys.
        fs::remove_file(&file).map_err(dump_error(&file))?;
        Ok(Self {
            memory,
            vectors: vectors(&registers),
            general: GENERAL
                .iter()
                .filter_map(|name| register(&registers, name))
                .collect(),
            cr3: register(&registers, "CR3").ok_or(SnapshotError::Register("CR3"))?,
        })
    }

    fn write(qmp: &mut Qmp, mebibytes: u32, file: &Path) -> Result<String, SnapshotError> {
        qmp.save_memory(0, u64::from(mebibytes) << 20, file)
            .map_err(selkie_qemu::Error::from)?;
        let registers = qmp.monitor("info registers");
        Ok(registers.map_err(selkie_qemu::Error::from)?)
    }

    /// The forms of the private key that a certificate (DER) is for, out of the memory of those who may hold it. `None` when
    /// it is not there, or for keys other than ECDSA's.
    ///
    /// # Errors
    /// When a protection domain cannot be found in the memory.
    pub fn private_key(
        &self,
        layout: &Layout,
        holders: &BTreeSet<String>,
        certificate: &[u8],
    ) -> Result<Option<Vec<Secret>>, LayoutError> {
        let Some(public) = PublicKey::of(certificate) else {
            return Ok(None);
        };
        let memory = layout
            .places(&self.memory, self.cr3)?
            .writable_memory(holders, &self.memory);
        Ok(memory.iter().find_map(|part| public.private_key(part)))
    }

    /// The key that a ticket was sealed with, out of the memory of those who may hold it; `None` when it is not there.
    ///
    /// # Errors
    /// When a protection domain cannot be found in the memory.
    pub fn ticket_key(
        &self,
        layout: &Layout,
        holders: &BTreeSet<String>,
        ticket: &[u8],
    ) -> Result<Option<Secret>, LayoutError> {
        let memory = layout
            .places(&self.memory, self.cr3)?
            .writable_memory(holders, &self.memory);
        Ok(memory.iter().find_map(|part| ticket_key(part, ticket)))
    }

    /// Everything of these secrets that is in memory or in the processor, by address.
    ///
    /// # Errors
    /// When a protection domain cannot be found in the memory.
    pub fn search<'a>(
        &self,
        layout: &Layout,
        secrets: &'a [Secret],
    ) -> Result<Vec<Finding<'a>>, LayoutError> {
        let places = layout.places(&self.memory, self.cr3)?;
        let index = Index::new(secrets.iter().map(|secret| secret.bytes.as_slice()));
        let finding = |hit: &crate::Hit, address, place| Finding {
            secret: &secrets[hit.secret],
            order: hit.order,
            offset: hit.offset,
            length: hit.length,
            address,
            place,
        };
        let memory = index.search(&self.memory);
        let memory = memory.iter().map(|hit| {
            let address = hit.address as u64;
            finding(hit, Some(address), places.at(address))
        });
        let vectors = index.search(&self.vectors);
        let vectors = vectors
            .iter()
            .map(|hit| finding(hit, None, places.vector_registers()));
        let general = index.search_words(&self.general);
        let general = general
            .iter()
            .map(|hit| finding(hit, None, places.general_registers(self.cr3)));
        let saved: Vec<u64> = places.saved_registers().collect();
        let words: Vec<u64> = saved
            .iter()
            .map(|address| Memory(&self.memory).word(*address).unwrap_or(0))
            .collect();
        let words = index.search_words(&words);
        let words = words.iter().map(|hit| {
            let address = saved[hit.address];
            finding(hit, Some(address), places.at(address))
        });
        Ok(memory.chain(vectors).chain(general).chain(words).collect())
    }
}

impl Finding<'_> {
    /// What kind of secret it is.
    pub fn kind(&self) -> Kind {
        self.secret.kind
    }
}

fn dump_error(path: &Path) -> impl Fn(io::Error) -> SnapshotError {
    let path = path.display().to_string();
    move |error| SnapshotError::Dump {
        path: path.clone(),
        error,
    }
}

/// A register of QEMU's `info registers`: `NAME=` and hexadecimal digits.
fn register(text: &str, name: &str) -> Option<u64> {
    let (_, rest) = text.split_once(&format!("{name}="))?;
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).ok()
}

/// The vector registers as they would lie in memory: `XMM00=` and the high and the low half in hexadecimal.
fn vectors(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in text.split("XMM").skip(1) {
        let Some((number, rest)) = part.split_once('=') else {
            continue;
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let halves: Vec<u64> = rest
            .split_whitespace()
            .take(2)
            .filter_map(|half| u64::from_str_radix(half, 16).ok())
            .collect();
        bytes.extend(halves.iter().rev().flat_map(|half| half.to_le_bytes()));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTERS: &str = "RAX=0000000000000001 RBX=00000000000000ff\r\n\
        CR0=80010031 CR2=0000000000402000 CR3=000000000093d000 CR4=000106f0\r\n\
        XMM00=0f0e0d0c0b0a0908 0706050403020100 XMM01=0000000000000000 00000000000000ff\r\n";

    #[test]
    fn registers_are_read() {
        assert_eq!(register(REGISTERS, "CR3"), Some(0x93_d000));
        assert_eq!(register(REGISTERS, "CR8"), None);
        let vectors = vectors(REGISTERS);
        assert_eq!(
            vectors[..16],
            core::array::from_fn::<u8, 16, _>(|index| index as u8)
        );
        assert_eq!((vectors[16], vectors.len()), (0xff, 32));
    }
}
