//! What a machine holds at one moment, and what is found in it.

use std::collections::BTreeSet;
use std::io;

use selkie_qemu::{Guest, Machine, MemoryFile};

use crate::derive::ed25519;
use crate::derive::recover::{PublicKey, ticket_key};
use crate::memory::Memory;
use crate::search::Index;
use crate::{Kind, Layout, LayoutError, Order, Place, Secret, Signed};

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// QEMU did not do as asked.
    #[error(transparent)]
    Qemu(#[from] selkie_qemu::Error),
    /// The memory could not be read.
    #[error("the machine's memory: {0}")]
    Memory(#[from] io::Error),
}

/// The memory and the registers of a paused machine.
pub struct Snapshot {
    memory: Memory,
    vectors: Vec<u8>,
    general: Vec<u64>,
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
    /// Stops the machine, which has this memory, for as long as copying it takes.
    ///
    /// # Errors
    /// When QEMU refuses, or the memory cannot be read.
    pub fn take(
        guest: &Guest,
        file: &MemoryFile,
        machine: &Machine,
    ) -> Result<Self, SnapshotError> {
        let mut qmp = guest.qmp()?;
        qmp.pause().map_err(selkie_qemu::Error::from)?;
        let memory = Memory::read(file, machine.memory_at);
        let registers = qmp.monitor("info registers");
        qmp.resume().map_err(selkie_qemu::Error::from)?;
        let registers = registers.map_err(selkie_qemu::Error::from)?;
        Ok(Self {
            memory: memory?,
            vectors: vectors(&registers),
            general: general(&registers),
        })
    }

    /// The forms of the private key that a certificate (DER) is for, out of the memory of those who may hold it, and the seed
    /// of an Ed25519 key out of all memory. `None` when the key is not there, or is RSA's. The signature is one of the key's.
    ///
    /// # Errors
    /// When a protection domain cannot be found in the memory.
    pub fn private_key(
        &self,
        layout: &Layout,
        holders: &BTreeSet<String>,
        certificate: &[u8],
        signed: &Signed,
    ) -> Result<Option<Vec<Secret>>, LayoutError> {
        let memory = layout
            .places(&self.memory)?
            .writable_memory(holders, &self.memory);
        if let Some(public) = ed25519::PublicKey::of(certificate) {
            let expanded = public.expanded(&memory, signed);
            let all = self.memory.parts().map(|(_, part)| part);
            return Ok(expanded.map(|expanded| expanded.forms(all)));
        }
        let public = PublicKey::of(certificate);
        Ok(public.and_then(|public| memory.iter().find_map(|part| public.private_key(part))))
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
            .places(&self.memory)?
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
        let places = layout.places(&self.memory)?;
        let index = Index::new(secrets.iter().map(|secret| secret.bytes.as_slice()));
        let finding = |hit: &crate::Hit, address, place| Finding {
            secret: &secrets[hit.secret],
            order: hit.order,
            offset: hit.offset,
            length: hit.length,
            address,
            place,
        };
        let mut found = Vec::new();
        for (start, part) in self.memory.parts() {
            found.extend(index.search(part).iter().map(|hit| {
                let address = start + hit.address as u64;
                finding(hit, Some(address), places.at(address))
            }));
        }
        let vectors = index.search(&self.vectors);
        let vectors = vectors.iter();
        found.extend(vectors.map(|hit| finding(hit, None, places.vector_registers())));
        let general = index.search_words(&self.general);
        let general = general.iter();
        found.extend(general.map(|hit| finding(hit, None, places.general_registers())));
        let saved: Vec<u64> = places.saved_registers().collect();
        let words = saved.iter().map(|address| self.memory.word(*address));
        let words: Vec<u64> = words.map(Option::unwrap_or_default).collect();
        found.extend(index.search_words(&words).iter().map(|hit| {
            let address = saved[hit.address];
            finding(hit, Some(address), places.at(address))
        }));
        Ok(found)
    }
}

impl Finding<'_> {
    /// What kind of secret it is.
    pub fn kind(&self) -> Kind {
        self.secret.kind
    }
}

/// The vector registers as they would lie in memory: each is its name, `XMM00` or `Q00`, and the high and the low half.
fn vectors(text: &str) -> Vec<u8> {
    let is_vector = |name: &str| {
        let number = name.strip_prefix("XMM").or_else(|| name.strip_prefix('Q'));
        number.is_some_and(|number| number.parse::<u8>().is_ok())
    };
    let halves = registers(text, is_vector, 2);
    let halves = halves.chunks(2).flat_map(|pair| pair.iter().rev());
    halves.flat_map(|half| half.to_le_bytes()).collect()
}

/// The others of 8 bytes, floating-point registers of RISC-V among them: `RAX` to `R15`, `X00` to `X30`, `x1/ra`, `f0/ft0`.
fn general(text: &str) -> Vec<u64> {
    let is_general = |name: &str| {
        let risc_v = name.split_once('/').map(|(name, _)| name);
        let name = risc_v.unwrap_or(name);
        let number = name.strip_prefix(['R', 'X', 'x', 'f']);
        let counted = number.is_some_and(|number| number.parse::<u8>().is_ok());
        counted || name != "RIP" && name.len() == 3 && name.starts_with('R')
    };
    registers(text, is_general, 1)
}

/// The values, so many words of each, of registers in QEMU's `info registers`: a name, then words in hexadecimal, with
/// space, `=` or `:` between all of them.
fn registers(text: &str, is_wanted: impl Fn(&str) -> bool, words: usize) -> Vec<u64> {
    let parts = text.split(|c: char| c.is_whitespace() || "=:".contains(c));
    let mut parts = parts.filter(|part| !part.is_empty());
    let mut found = Vec::new();
    while let Some(name) = parts.next() {
        if is_wanted(name) {
            let values = parts.by_ref().take(words);
            let values = values.map(|value| u64::from_str_radix(value, 16).unwrap_or(0));
            found.extend(values);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read() {
        let x86_64 = "RAX=0000000000000001 RBX=0000000000000002\r\n\
            R8 =0000000000000003 R9 =0000000000000004 R15=0000000000000005\r\n\
            RIP=0000000000000006 RFL=00000046 [---Z-P-] CPL=3 II=0\r\n\
            CR0=80010031 CR3=000000000093d000\r\n\
            XMM00=0f0e0d0c0b0a0908 0706050403020100 XMM01=0000000000000000 00000000000000ff\r\n";
        let aarch64 = " PC=00000080600111e0 X00=0000000000000001 X01=0000000000000002\r\n\
            X02=0000000000000003 X29=0000000000000004 X30=0000000000000005  SP=0000008060023c00\r\n\
            PSTATE=00000149 ---- EL2h     FPCR=00000000 FPSR=00000000\r\n\
            Q00=0f0e0d0c0b0a0908:0706050403020100 Q01=0000000000000000:00000000000000ff\r\n";
        for text in [x86_64, aarch64] {
            let first = core::array::from_fn::<u8, 16, _>(|index| index as u8);
            let vectors = vectors(text);
            assert_eq!(vectors[..16], first);
            assert_eq!((vectors[16], vectors.len()), (0xff, 32));
        }
        assert_eq!(general(x86_64), [1, 2, 3, 4, 5, 0x46]);
        assert_eq!(general(aarch64), [1, 2, 3, 4, 5]);
        let riscv64 = " pc       0000000080200000\r\n mstatus  0000000a00000080\r\n\
            x0/zero  0000000000000000 x1/ra    0000000000000001 x2/sp    0000000000000002\r\n\
            f0/ft0   0000000000000003 f31/ft11 0000000000000004\r\n";
        assert_eq!(general(riscv64), [0, 1, 2, 3, 4]);
        assert!(vectors(riscv64).is_empty());
    }
}
