//! The records of a specification.

/// Something that is stored in a fixed number of words.
pub trait Record: Sized {
    /// Words of a record.
    const WORDS: usize;

    /// Stores the record in [`Self::WORDS`] words.
    fn write(&self, words: &mut [u64]);

    /// The record in [`Self::WORDS`] words; `None` when they are not one.
    fn read(words: &[u64]) -> Option<Self>;
}

/// A name: a range of the list of name bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its first byte.
    pub offset: u32,
    /// Its bytes.
    pub length: u32,
}

impl Name {
    fn word(self) -> u64 {
        u64::from(self.offset) << 32 | u64::from(self.length)
    }

    fn from_word(word: u64) -> Self {
        Self {
            offset: (word >> 32) as u32,
            length: word as u32,
        }
    }
}

/// A protection domain (PD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub name: Name,
    /// Its first instruction.
    pub entry: u64,
    /// Its stack pointer at the start.
    pub stack_top: u64,
    /// Where it sees its IPC buffer.
    pub ipc_buffer: u64,
    /// 0 to 254.
    pub priority: u8,
    /// Whether a parent holds its thread's capability; else the initialiser keeps it.
    pub has_parent: bool,
}

impl Record for Domain {
    const WORDS: usize = 6;

    fn write(&self, words: &mut [u64]) {
        words.copy_from_slice(&[
            self.name.word(),
            self.entry,
            self.stack_top,
            self.ipc_buffer,
            self.priority.into(),
            self.has_parent.into(),
        ]);
    }

    fn read(words: &[u64]) -> Option<Self> {
        Some(Self {
            name: Name::from_word(words[0]),
            entry: words[1],
            stack_top: words[2],
            ipc_buffer: words[3],
            priority: words[4].try_into().ok()?,
            has_parent: words[5] != 0,
        })
    }
}

/// The level of a paging structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Maps 512 GiB.
    Pdpt,
    /// Maps 1 GiB.
    PageDirectory,
    /// Maps 2 MiB.
    PageTable,
}

impl Level {
    /// All levels, from the root.
    pub const ALL: [Self; 3] = [Self::Pdpt, Self::PageDirectory, Self::PageTable];

    /// log2 of the memory that such a structure maps.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Pdpt => 39,
            Self::PageDirectory => 30,
            Self::PageTable => 21,
        }
    }
}

/// A paging structure of a domain's address space. The list is sorted by level, from the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its level.
    pub level: Level,
    /// The domain, as its place in the list.
    pub domain: u32,
    /// The first address that it maps.
    pub address: u64,
}

impl Record for Table {
    const WORDS: usize = 2;

    fn write(&self, words: &mut [u64]) {
        words[0] = u64::from(self.domain) << 8 | self.level as u64;
        words[1] = self.address;
    }

    fn read(words: &[u64]) -> Option<Self> {
        Some(Self {
            level: *Level::ALL.get((words[0] & 0xff) as usize)?,
            domain: (words[0] >> 8).try_into().ok()?,
            address: words[1],
        })
    }
}

/// The size of a region's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageBits {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
}

impl PageBits {
    /// log2 of the page's size in bytes.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Small => 12,
            Self::Large => 21,
        }
    }
}

/// What memory holds at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zeros; what device memory holds is left.
    Zero,
    /// The region *is* these data pages, from the first to as many as it has pages. Small pages anywhere only.
    Pages {
        /// Number of the first data page.
        first: u64,
    },
    /// A copy of data pages, zeros behind.
    Copy {
        /// Number of the first data page.
        first: u64,
        /// Bytes.
        length: u64,
    },
}

/// Memory that domains map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// What it is, for messages.
    pub name: Name,
    /// Number of pages.
    pub pages: u64,
    /// The size of its pages.
    pub page_bits: PageBits,
    /// Its physical address, if that is fixed. The list begins with these regions, by ascending address.
    pub physical: Option<u64>,
    /// What it holds at the start.
    pub fill: Fill,
    /// The first of its maps.
    pub first_map: u32,
    /// The number of its maps.
    pub maps: u32,
}

impl Region {
    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.pages << self.page_bits.bits()
    }
}

impl Record for Region {
    const WORDS: usize = 7;

    fn write(&self, words: &mut [u64]) {
        let (kind, first, length) = match self.fill {
            Fill::Zero => (0, 0, 0),
            Fill::Pages { first } => (1, first, 0),
            Fill::Copy { first, length } => (2, first, length),
        };
        words.copy_from_slice(&[
            self.name.word(),
            self.pages,
            u64::from(self.page_bits.bits()) << 8 | kind,
            self.physical.unwrap_or(u64::MAX),
            first,
            length,
            u64::from(self.first_map) << 32 | u64::from(self.maps),
        ]);
    }

    fn read(words: &[u64]) -> Option<Self> {
        let (first, length) = (words[4], words[5]);
        Some(Self {
            name: Name::from_word(words[0]),
            pages: words[1],
            page_bits: match words[2] >> 8 {
                12 => PageBits::Small,
                21 => PageBits::Large,
                _ => return None,
            },
            physical: (words[3] != u64::MAX).then_some(words[3]),
            fill: match words[2] & 0xff {
                0 => Fill::Zero,
                1 => Fill::Pages { first },
                2 => Fill::Copy { first, length },
                _ => return None,
            },
            first_map: (words[6] >> 32) as u32,
            maps: words[6] as u32,
        })
    }
}

/// A region's place in the address space of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// The domain, as its place in the list.
    pub domain: u32,
    /// The first address.
    pub address: u64,
    /// Whether the domain may write. It may always read, and execute: seL4 5.0.0 has no NX bit.
    pub write: bool,
    /// Whether the memory is cached.
    pub cached: bool,
}

impl Record for Map {
    const WORDS: usize = 2;

    fn write(&self, words: &mut [u64]) {
        words[0] =
            u64::from(self.domain) << 8 | u64::from(self.cached) << 1 | u64::from(self.write);
        words[1] = self.address;
    }

    fn read(words: &[u64]) -> Option<Self> {
        Some(Self {
            domain: (words[0] >> 8).try_into().ok()?,
            address: words[1],
            write: words[0] & 1 != 0,
            cached: words[0] & 2 != 0,
        })
    }
}

/// Rights of a capability to an endpoint or a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Receive messages or signals.
    Receive,
    /// Send signals.
    Send,
    /// Call: send, and be answered (which needs grant in seL4 5.0.0), or have faults sent.
    Call,
}

/// What a capability is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The notification of a domain.
    Notification {
        /// The domain, as its place in the list.
        of: u32,
        /// The badge; 0 for none.
        badge: u64,
        /// What may be done.
        rights: Rights,
    },
    /// The endpoint of a domain.
    Endpoint {
        /// The domain, as its place in the list.
        of: u32,
        /// The badge, at most 28 bits; 0 for none.
        badge: u64,
        /// What may be done.
        rights: Rights,
    },
    /// The thread of a domain.
    Thread {
        /// The domain, as its place in the list.
        of: u32,
    },
    /// An interrupt, delivered to the notification of the domain that gets the capability.
    Interrupt {
        /// The IOAPIC.
        ioapic: u8,
        /// Its pin.
        pin: u8,
        /// Whether it is level triggered, not edge.
        level: bool,
        /// Whether it is active low, not high.
        active_low: bool,
        /// The vector, 0 to 107, unique.
        vector: u8,
        /// The badge of the signal.
        badge: u64,
    },
    /// A range of I/O ports.
    IoPorts {
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
}

impl Object {
    /// The domain that the object belongs to.
    pub(crate) fn domain(&self) -> Option<u32> {
        match self {
            Self::Notification { of, .. } | Self::Endpoint { of, .. } | Self::Thread { of } => {
                Some(*of)
            }
            Self::Interrupt { .. } | Self::IoPorts { .. } => None,
        }
    }
}

/// A capability that a domain gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The domain, as its place in the list.
    pub domain: u32,
    /// The slot in its table.
    pub slot: u32,
    /// What the capability is to.
    pub object: Object,
}

impl Record for Grant {
    const WORDS: usize = 4;

    fn write(&self, words: &mut [u64]) {
        let (kind, parameters, badge) = match self.object {
            Object::Notification { of, badge, rights } => (0, pack(of, rights), badge),
            Object::Endpoint { of, badge, rights } => (1, pack(of, rights), badge),
            Object::Thread { of } => (2, of.into(), 0),
            Object::Interrupt {
                ioapic,
                pin,
                level,
                active_low,
                vector,
                badge,
            } => {
                let bytes = [
                    ioapic,
                    pin,
                    level.into(),
                    active_low.into(),
                    vector,
                    0,
                    0,
                    0,
                ];
                (3, u64::from_le_bytes(bytes), badge)
            }
            Object::IoPorts { first, last } => (4, u64::from(first) << 16 | u64::from(last), 0),
        };
        words.copy_from_slice(&[
            u64::from(self.domain) << 32 | u64::from(self.slot),
            kind,
            parameters,
            badge,
        ]);
    }

    fn read(words: &[u64]) -> Option<Self> {
        let (parameters, badge) = (words[2], words[3]);
        let object = match words[1] {
            0 | 1 => {
                let (of, rights) = unpack(parameters)?;
                match words[1] {
                    0 => Object::Notification { of, badge, rights },
                    _ => Object::Endpoint { of, badge, rights },
                }
            }
            2 => Object::Thread {
                of: parameters.try_into().ok()?,
            },
            3 => {
                let [ioapic, pin, level, active_low, vector, ..] = parameters.to_le_bytes();
                Object::Interrupt {
                    ioapic,
                    pin,
                    level: level != 0,
                    active_low: active_low != 0,
                    vector,
                    badge,
                }
            }
            4 => Object::IoPorts {
                first: (parameters >> 16).try_into().ok()?,
                last: (parameters & 0xffff) as u16,
            },
            _ => return None,
        };
        Some(Self {
            domain: (words[0] >> 32) as u32,
            slot: words[0] as u32,
            object,
        })
    }
}

fn pack(of: u32, rights: Rights) -> u64 {
    u64::from(of) << 8 | rights as u64
}

fn unpack(word: u64) -> Option<(u32, Rights)> {
    let rights = match word & 0xff {
        0 => Rights::Receive,
        1 => Rights::Send,
        2 => Rights::Call,
        _ => return None,
    };
    Some(((word >> 8).try_into().ok()?, rights))
}
