//! Writing a specification.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::record::{Domain, Grant, Map, Name, Record, Region, Table};
use crate::spec::{HEADER, WORD};
use crate::{FORMAT, MAGIC};

/// The lists of a specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// The protection domains.
    pub domains: Vec<Domain>,
    /// The paging structures below the roots, sorted by level.
    pub tables: Vec<Table>,
    /// The regions: first those at fixed physical addresses, by ascending address.
    pub regions: Vec<Region>,
    /// The maps, those of a region side by side.
    pub maps: Vec<Map>,
    /// The capabilities.
    pub grants: Vec<Grant>,
    names: String,
}

impl Writer {
    /// Stores a name.
    pub fn name(&mut self, text: &str) -> Name {
        let offset = self.names.len() as u32;
        self.names.push_str(text);
        Name {
            offset,
            length: text.len() as u32,
        }
    }

    /// The specification's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut words = vec![0; HEADER];
        let mut lists = Vec::new();
        append(&mut words, &mut lists, &self.domains);
        append(&mut words, &mut lists, &self.tables);
        append(&mut words, &mut lists, &self.regions);
        append(&mut words, &mut lists, &self.maps);
        append(&mut words, &mut lists, &self.grants);
        let names = (words.len() * WORD) as u64;
        lists.extend([names, self.names.len() as u64]);

        let total = names + self.names.len() as u64;
        words[..3].copy_from_slice(&[MAGIC, FORMAT, total]);
        words[3..HEADER].copy_from_slice(&lists);
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.extend(self.names.as_bytes());
        bytes
    }
}

fn append<T: Record>(words: &mut Vec<u64>, lists: &mut Vec<u64>, records: &[T]) {
    lists.extend([(words.len() * WORD) as u64, records.len() as u64]);
    for record in records {
        let first = words.len();
        words.resize(first + T::WORDS, 0);
        record.write(&mut words[first..]);
    }
}
