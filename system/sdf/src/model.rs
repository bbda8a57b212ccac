//! What a system description says, as types.

mod device;

use std::fmt;
use std::path::PathBuf;

pub use device::{Interrupt, IoPort, Irq, PciAddress, Polarity, Trigger};

/// The machine that a system is for, as far as its description depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Instruction set; decides which kinds of interrupts and ports there are.
    pub architecture: Architecture,
    /// Highest user virtual address (inclusive). The IPC buffer is the page that holds it; a guard page
    /// and the stack lie below.
    pub user_top: u64,
    /// Number of processor cores that protection domains may be placed on.
    pub cores: u8,
}

impl Target {
    /// One x86_64 core.
    pub const X86_64: Self = Self {
        architecture: Architecture::X86_64,
        user_top: 0x7fff_ffff_efff,
        cores: 1,
    };

    /// One aarch64 core with the kernel at EL2 and 40 bits of physical address, as Microkit's kernels for
    /// Cortex-A53 and A72 are configured.
    pub const AARCH64: Self = Self {
        architecture: Architecture::Aarch64,
        user_top: 0xff_ffff_ffff,
        cores: 1,
    };

    /// One riscv64 core with 39 bits of virtual address (Sv39).
    pub const RISCV64: Self = Self {
        architecture: Architecture::Riscv64,
        user_top: 0x3f_ffff_efff,
        cores: 1,
    };

    /// Where the page of the IPC buffer begins.
    pub fn ipc_buffer(&self) -> u64 {
        self.user_top & !(PageSize::Small.bytes() - 1)
    }

    /// The first address behind the stack, which is also the guard page below the IPC buffer.
    pub fn stack_top(&self) -> u64 {
        self.ipc_buffer() - PageSize::Small.bytes()
    }

    /// The first address behind those that mappings of a protection domain may use.
    pub fn map_end(&self, stack_size: u64) -> u64 {
        self.stack_top().saturating_sub(stack_size)
    }
}

/// An instruction set that Microkit supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Architecture {
    Aarch64,
    Riscv64,
    X86_64,
}

impl Architecture {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
            Self::X86_64 => "x86_64",
        }
    }
}

/// A system: memory, protection domains and the channels between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// A comment before the `system` element.
    pub comment: Option<String>,
    /// Memory that protection domains map.
    pub memory_regions: Vec<MemoryRegion>,
    /// The protection domains without a parent.
    pub protection_domains: Vec<ProtectionDomain>,
    /// Channels, each between two protection domains.
    pub channels: Vec<Channel>,
    /// What devices behind an IOMMU may reach (x86_64 only).
    pub io_address_spaces: Vec<IoAddressSpace>,
}

/// A page size, the same on all architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageSize {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
}

impl PageSize {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Small => 0x1000,
            Self::Large => 0x20_0000,
        }
    }
}

/// Memory, mapped by one or several protection domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// A comment before the element.
    pub comment: Option<String>,
    /// Unique name.
    pub name: String,
    /// Size in bytes, a multiple of the page size. [`parse`](crate::parse) takes it from the length of the prefill file
    /// where the description leaves it out.
    pub size: u64,
    /// Size of its pages; `None` leaves the choice to the tool: see [`System::page_size`].
    pub page_size: Option<PageSize>,
    /// Physical address of the first byte, a multiple of the page size.
    pub phys_addr: Option<u64>,
    /// A file with what the region holds at start; the rest is zero.
    pub prefill: Option<PathBuf>,
}

/// A protection domain: a program in an address space and a capability space of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectionDomain {
    /// A comment before the element.
    pub comment: Option<String>,
    /// Unique name.
    pub name: String,
    /// How the parent refers to it; `None` exactly for a protection domain without a parent.
    pub child: Option<Child>,
    /// Priority, 0 to 254, higher is more urgent.
    pub priority: u8,
    /// Budget in microseconds (MCS kernels); the tool's default is 1000.
    pub budget: Option<u64>,
    /// Period in microseconds (MCS kernels), not below the budget; the default is the budget.
    pub period: Option<u64>,
    /// Whether it gives up its scheduling context after `init` (MCS kernels).
    pub passive: bool,
    /// Size of the stack in bytes, a multiple of 4 KiB.
    pub stack_size: u64,
    /// The processor core that it runs on.
    pub cpu: u8,
    /// Whether it may use the floating-point unit.
    pub fpu: bool,
    /// Path of the program's ELF file.
    pub program_image: PathBuf,
    /// Path of an ELF file whose symbols stand for those of a stripped `program_image`.
    pub program_image_for_symbols: Option<PathBuf>,
    /// The memory it sees.
    pub maps: Vec<Map>,
    /// The interrupts it receives.
    pub irqs: Vec<Irq>,
    /// The x86 I/O ports it may use.
    pub io_ports: Vec<IoPort>,
    /// Symbols that are set to the physical address of a region.
    pub setvars: Vec<SetVar>,
    /// The protection domains whose faults it handles.
    pub children: Vec<ProtectionDomain>,
}

impl ProtectionDomain {
    /// A protection domain with the defaults of the format and nothing mapped.
    pub fn new(name: impl Into<String>, program_image: impl Into<PathBuf>) -> Self {
        Self {
            comment: None,
            name: name.into(),
            child: None,
            priority: 0,
            budget: None,
            period: None,
            passive: false,
            stack_size: crate::DEFAULT_STACK_SIZE,
            cpu: 0,
            fpu: true,
            program_image: program_image.into(),
            program_image_for_symbols: None,
            maps: Vec::new(),
            irqs: Vec::new(),
            io_ports: Vec::new(),
            setvars: Vec::new(),
            children: Vec::new(),
        }
    }
}

/// How a parent refers to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Identifier, 0 to 61, unique among the parent's children.
    pub id: u8,
    /// A symbol of the parent's program that is set to the identifier.
    pub setvar_id: Option<String>,
}

/// A region's place in the address space of a protection domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Name of the region.
    pub region: String,
    /// First virtual address, a multiple of the region's page size.
    pub vaddr: u64,
    /// What may be done with the memory.
    pub permissions: Permissions,
    /// Whether the memory is cached; devices' registers are not.
    pub cached: bool,
    /// A symbol that is set to `vaddr`.
    pub setvar_vaddr: Option<String>,
    /// A symbol that is set to the region's size in bytes.
    pub setvar_size: Option<String>,
    /// A symbol that is set to the length of the region's prefill file in bytes.
    pub setvar_prefill_size: Option<String>,
}

/// What may be done with mapped memory; Microkit has no write-only mappings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Permissions {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
}

impl Permissions {
    /// Reading only.
    pub const READ: Self = Self {
        read: true,
        write: false,
        execute: false,
    };
    /// Reading and writing.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
        execute: false,
    };
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (set, letter) in [(self.read, 'r'), (self.write, 'w'), (self.execute, 'x')] {
            if set {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// A symbol that is set to the physical address of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVar {
    /// The symbol.
    pub symbol: String,
    /// The region; on x86_64 it must have a physical address.
    pub region: String,
}

/// A channel between two protection domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// A comment before the element.
    pub comment: Option<String>,
    /// Its two ends.
    pub ends: [End; 2],
}

/// One end of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Name of the protection domain at this end.
    pub domain: String,
    /// Channel identifier there, 0 to 61.
    pub id: u8,
    /// Whether this end may make protected procedure calls to the other, whose priority must be higher.
    pub call: bool,
    /// Whether this end may notify the other.
    pub notify: bool,
    /// A symbol that is set to the identifier.
    pub setvar_id: Option<String>,
}

/// The memory that a device behind an IOMMU may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoAddressSpace {
    /// Unique name.
    pub name: String,
    /// The device.
    pub peripheral: PciAddress,
    /// IOMMU domain, unique.
    pub domain_id: u64,
    /// The memory.
    pub maps: Vec<IoMap>,
}

/// A region's place in an I/O address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoMap {
    /// Name of the region, which must have small pages.
    pub region: String,
    /// First I/O virtual address, a multiple of the page size.
    pub address: u64,
    /// Reading, writing or both.
    pub permissions: Permissions,
}

impl System {
    /// All protection domains, each parent before its children, with the index of the parent.
    pub fn domains(&self) -> Vec<(&ProtectionDomain, Option<usize>)> {
        fn visit<'a>(
            domains: &'a [ProtectionDomain],
            parent: Option<usize>,
            all: &mut Vec<(&'a ProtectionDomain, Option<usize>)>,
        ) {
            for domain in domains {
                let index = all.len();
                all.push((domain, parent));
                visit(&domain.children, Some(index), all);
            }
        }
        let mut all = Vec::new();
        visit(&self.protection_domains, None, &mut all);
        all
    }

    /// The region of this name.
    pub fn region(&self, name: &str) -> Option<&MemoryRegion> {
        self.memory_regions
            .iter()
            .find(|region| region.name == name)
    }

    /// The size of the pages of a region: its own choice, or else the largest that its size, its
    /// physical address and every address that it is mapped at are multiples of, as Microkit's tool decides.
    pub fn page_size(&self, region: &MemoryRegion) -> PageSize {
        if let Some(size) = region.page_size {
            return size;
        }
        let large = PageSize::Large.bytes();
        let for_devices = self
            .io_address_spaces
            .iter()
            .flat_map(|space| &space.maps)
            .any(|map| map.region == region.name);
        let aligned = self
            .domains()
            .iter()
            .flat_map(|(domain, _)| &domain.maps)
            .filter(|map| map.region == region.name)
            .map(|map| map.vaddr)
            .chain(region.phys_addr)
            .chain([region.size])
            .all(|address| address.is_multiple_of(large));
        if aligned && !for_devices {
            PageSize::Large
        } else {
            PageSize::Small
        }
    }
}
