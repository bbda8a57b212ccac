//! Reading a specification.

use core::fmt;

use crate::record::{Domain, Grant, Map, Name, Record, Region, Table};
use crate::{FORMAT, MAGIC};

/// Bytes of a word.
pub(crate) const WORD: usize = 8;
/// Words before the lists: magic, format, bytes in all, then offset and count of six lists.
pub(crate) const HEADER: usize = 3 + 2 * 6;
/// Words of the longest record.
const LONGEST: usize = 7;

/// A specification in memory.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    domains: &'a [u8],
    tables: &'a [u8],
    regions: &'a [u8],
    maps: &'a [u8],
    grants: &'a [u8],
    names: &'a [u8],
    bytes: usize,
}

/// The bytes are no specification of this [`FORMAT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the specification is malformed or of another format")
    }
}

impl core::error::Error for Malformed {}

impl<'a> Spec<'a> {
    /// The specification that begins with the first of these bytes. Every record is checked here, so that
    /// the lists can be read without errors afterwards.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut header = [0; HEADER];
        for (word, bytes) in header.iter_mut().zip(bytes.chunks_exact(WORD)) {
            *word = word_of(bytes);
        }
        let total = usize::try_from(header[2]).map_err(|_| Malformed)?;
        if header[0] != MAGIC || header[1] != FORMAT || total < HEADER * WORD {
            return Err(Malformed);
        }
        let bytes = bytes.get(..total).ok_or(Malformed)?;
        let list = |index: usize, width: usize| {
            let offset = usize::try_from(header[3 + 2 * index]).ok()?;
            let count = usize::try_from(header[4 + 2 * index]).ok()?;
            bytes.get(offset..offset.checked_add(count.checked_mul(width)?)?)
        };
        Self {
            domains: list(0, Domain::WORDS * WORD).ok_or(Malformed)?,
            tables: list(1, Table::WORDS * WORD).ok_or(Malformed)?,
            regions: list(2, Region::WORDS * WORD).ok_or(Malformed)?,
            maps: list(3, Map::WORDS * WORD).ok_or(Malformed)?,
            grants: list(4, Grant::WORDS * WORD).ok_or(Malformed)?,
            names: list(5, 1).ok_or(Malformed)?,
            bytes: total,
        }
        .checked()
    }

    /// The number of bytes of the specification, without the data pages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The protection domains.
    pub fn domains(&self) -> impl ExactSizeIterator<Item = Domain> + Clone + use<'a> {
        read(self.domains)
    }

    /// The domain at this place.
    ///
    /// # Panics
    /// Behind the last one. No record refers there.
    pub fn domain(&self, index: u32) -> Domain {
        self.domains()
            .nth(index as usize)
            .expect("records refer to domains only, as Spec::new checked")
    }

    /// The paging structures below the roots.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = Table> + Clone + use<'a> {
        read(self.tables)
    }

    /// The regions.
    pub fn regions(&self) -> impl ExactSizeIterator<Item = Region> + Clone + use<'a> {
        read(self.regions)
    }

    /// The maps of a region.
    pub fn maps(&self, region: &Region) -> impl ExactSizeIterator<Item = Map> + Clone + use<'a> {
        const BYTES: usize = Map::WORDS * WORD;
        let first = region.first_map as usize * BYTES;
        read(&self.maps[first..first + region.maps as usize * BYTES])
    }

    /// The capabilities.
    pub fn grants(&self) -> impl ExactSizeIterator<Item = Grant> + Clone + use<'a> {
        read(self.grants)
    }

    /// The text of a name.
    pub fn name(&self, name: Name) -> &'a str {
        let first = name.offset as usize;
        self.names
            .get(first..first.saturating_add(name.length as usize))
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("?")
    }

    fn checked(self) -> Result<Self, Malformed> {
        let domains = self.domains.len() / (Domain::WORDS * WORD);
        let maps = (self.maps.len() / (Map::WORDS * WORD)) as u64;
        let known = |domain: u32| (domain as usize) < domains;
        let sound = readable::<Domain>(self.domains, |_| true)
            && readable::<Table>(self.tables, |table| known(table.domain))
            && readable::<Map>(self.maps, |map| known(map.domain))
            && readable::<Grant>(self.grants, |grant| {
                known(grant.domain) && grant.object.domain().is_none_or(known)
            })
            && readable::<Region>(self.regions, |region| {
                u64::from(region.first_map) + u64::from(region.maps) <= maps
            });
        if sound { Ok(self) } else { Err(Malformed) }
    }
}

fn read<T: Record>(bytes: &[u8]) -> impl ExactSizeIterator<Item = T> + Clone {
    bytes
        .chunks_exact(T::WORDS * WORD)
        .map(|bytes| record(bytes).expect("checked by Spec::new"))
}

fn readable<T: Record>(bytes: &[u8], sound: impl Fn(&T) -> bool) -> bool {
    bytes
        .chunks_exact(T::WORDS * WORD)
        .all(|bytes| record::<T>(bytes).is_some_and(|record| sound(&record)))
}

fn record<T: Record>(bytes: &[u8]) -> Option<T> {
    let mut words = [0; LONGEST];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(WORD)) {
        *word = word_of(bytes);
    }
    T::read(&words[..T::WORDS])
}

fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use crate::*;

    fn example() -> Writer {
        let mut writer = Writer::default();
        let [first, second] = ["nic", "tcpip"].map(|name| writer.name(name));
        let domain = |name, priority| Domain {
            name,
            entry: 0x20_0000,
            stack_top: 0x7fff_ffff_d000,
            ipc_buffer: 0x7fff_ffff_e000,
            priority,
            has_parent: priority == 254,
        };
        writer.domains = [domain(first, 254), domain(second, 0)].into();
        writer.tables.push(Table {
            level: Level::PageDirectory,
            domain: 1,
            address: 1 << 30,
        });
        let name = writer.name("tcpip: code");
        writer.maps = [true, false]
            .map(|write| Map {
                domain: write.into(),
                address: 0x20_0000,
                write,
                cached: !write,
            })
            .into();
        let fills = [
            Fill::Zero,
            Fill::Pages { first: 5 },
            Fill::Copy {
                first: 9,
                length: 4097,
            },
        ];
        writer.regions = fills
            .map(|fill| Region {
                name,
                pages: 3,
                page_bits: if fill == Fill::Zero {
                    PageBits::Large
                } else {
                    PageBits::Small
                },
                physical: (fill == Fill::Zero).then_some(0x200_0000),
                fill,
                first_map: 1,
                maps: 1,
            })
            .into();
        let objects = [
            Object::Notification {
                of: 1,
                badge: badge::signal(61),
                rights: Rights::Send,
            },
            Object::Endpoint {
                of: 0,
                badge: badge::call(3),
                rights: Rights::Call,
            },
            Object::Thread { of: 1 },
            Object::Interrupt {
                ioapic: 1,
                pin: 22,
                level: true,
                active_low: true,
                vector: 107,
                badge: badge::signal(0),
            },
            Object::IoPorts {
                first: 0x3f8,
                last: 0xffff,
            },
        ];
        writer.grants = objects
            .map(|object| Grant {
                domain: 1,
                slot: 511,
                object,
            })
            .into();
        writer
    }

    #[test]
    fn what_is_written_is_read() {
        let writer = example();
        let mut bytes = writer.to_bytes();
        let length = bytes.len();
        bytes.resize(length + 100, 0xff);
        let spec = Spec::new(&bytes).unwrap();
        assert_eq!(spec.bytes(), length);
        assert_eq!(spec.domains().collect::<Vec<_>>(), writer.domains);
        assert_eq!(spec.domain(1), writer.domains[1]);
        assert_eq!(spec.tables().collect::<Vec<_>>(), writer.tables);
        assert_eq!(spec.regions().collect::<Vec<_>>(), writer.regions);
        assert_eq!(spec.grants().collect::<Vec<_>>(), writer.grants);
        let region = writer.regions[0];
        assert_eq!(spec.maps(&region).collect::<Vec<_>>(), [writer.maps[1]]);
        assert_eq!(spec.name(region.name), "tcpip: code");
        assert_eq!(spec.name(spec.domain(0).name), "nic");
    }

    #[test]
    fn references_to_nothing_are_refused() {
        let refused = |change: &dyn Fn(&mut Writer)| {
            let mut writer = example();
            change(&mut writer);
            Spec::new(&writer.to_bytes()).is_err()
        };
        assert!(!refused(&|_| {}));
        assert!(refused(&|writer| writer.tables[0].domain = 2));
        assert!(refused(&|writer| writer.maps[0].domain = 2));
        assert!(refused(&|writer| writer.grants[0].domain = 2));
        assert!(refused(
            &|writer| writer.grants[2].object = Object::Thread { of: 2 }
        ));
        assert!(refused(&|writer| writer.regions[0].maps = 2));
    }

    proptest! {
        /// The bytes come from the builder, but a broken image must end in a message.
        #[test]
        fn damaged_bytes_never_panic(position in 0_usize..900, value: u8, cut in 0_usize..900) {
            let mut bytes = example().to_bytes();
            let length = bytes.len();
            bytes[position % length] = value;
            for bytes in [&bytes[..], &bytes[..cut.min(length)]] {
                if let Ok(spec) = Spec::new(bytes) {
                    for region in spec.regions() {
                        spec.name(region.name);
                        spec.maps(&region).for_each(drop);
                    }
                    spec.domains().for_each(drop);
                    spec.grants().for_each(drop);
                    spec.tables().for_each(drop);
                }
            }
        }
    }
}
