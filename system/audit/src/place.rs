//! Naming a place in physical memory: protection domain, region, symbol.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use microkit_sdf::{ProtectionDomain, System, Target};
use object::elf::{PF_X, PT_LOAD};
use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{LittleEndian, Object, ObjectSymbol};
use selkie_qemu::Function;

use crate::memory::{Memory, PAGE, Space, THREAD};
use crate::paging::Paging;

/// How kernels are told apart: [`Layout::vector_owner`] and [`Layout::registers`] of seL4 16 (there is an unused part before the
/// registers) and of seL4 5 (they follow 16 slots).
const KERNELS: [(&str, u64); 2] = [("ksCurFPUOwner", 1024), ("ksActiveFPUState", 512)];

/// The kernel's variable that points into the object of the thread that runs.
const CURRENT: &str = "ksCurThread";

/// How many bytes of a function tell its program from the others.
const FUNCTION: usize = 32;

/// What a system is made of, as far as places are named by it.
pub struct Layout {
    domains: Vec<Domain>,
    kernel: Program,
    /// Its variable that points into the object of the thread whose vector registers are in the processor.
    vector_owner: &'static str,
    /// Where the registers begin in a thread's object.
    registers: u64,
    paging: &'static Paging,
}

/// A protection domain.
struct Domain {
    name: String,
    program: Program,
    /// Ranges of virtual addresses and what lies there.
    ranges: Vec<(std::ops::Range<u64>, String)>,
    /// What is read-only and known: by this the address space is recognised.
    known: Vec<(u64, Vec<u8>)>,
}

/// A program's segments and symbols.
#[derive(Default)]
struct Program {
    segments: Vec<(u64, Vec<u8>)>,
    /// Address, size and name, by ascending address.
    symbols: Vec<(u64, u64, String)>,
    /// Virtual and physical address and size of each segment.
    loads: Vec<(u64, u64, u64)>,
}

/// Why a system's layout is not known.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of the built system cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A program's file is no ELF file.
    #[error("{path}: {error}")]
    Elf {
        /// The file.
        path: String,
        /// Why.
        error: object::Error,
    },
    /// The kernel's file has no name for what points to the owner of the vector registers.
    #[error("it is not known how this kernel keeps the registers of threads")]
    Kernel,
    /// A protection domain has no address space in the memory, or several could be its own.
    #[error("{count} address spaces in memory could be that of `{domain}`")]
    Unrecognised {
        /// The protection domain.
        domain: String,
        /// How many.
        count: usize,
    },
}

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The protection domains that can reach it, or whose own it is in the kernel; without any: nobody's.
    pub owners: BTreeSet<String>,
    /// Region, stack, part of the program, or what it is in the kernel.
    pub region: String,
    /// Variable or function, if it lies in one.
    pub symbol: Option<String>,
}

impl Place {
    fn nobodys(region: impl Into<String>) -> Self {
        Self {
            owners: BTreeSet::new(),
            region: region.into(),
            symbol: None,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let owners: Vec<&str> = self.owners.iter().map(String::as_str).collect();
        let owners = if owners.is_empty() {
            "nobody".into()
        } else {
            owners.join(", ")
        };
        write!(f, "{owners}: {}", self.region)?;
        match &self.symbol {
            Some(symbol) => write!(f, " ({symbol})"),
            None => Ok(()),
        }
    }
}

impl Layout {
    /// Reads the programs and contents that the system names, relative to `folder`, and the kernel's symbols.
    ///
    /// # Errors
    /// When one of the files is missing or malformed.
    pub fn read(
        system: &System,
        target: &Target,
        folder: &Path,
        kernel: &Path,
    ) -> Result<Self, LayoutError> {
        let kernel = Program::read(kernel)?;
        let mut kernels = KERNELS.iter();
        let (vector_owner, registers) = kernels
            .find(|(name, _)| kernel.physical(name).is_some())
            .ok_or(LayoutError::Kernel)?;
        let domains = system.domains().into_iter();
        Ok(Self {
            domains: domains
                .map(|(domain, _)| Domain::read(system, target, folder, domain))
                .collect::<Result<_, _>>()?,
            kernel,
            vector_owner,
            registers: *registers,
            paging: Paging::of(target.architecture),
        })
    }

    /// What everything is in this memory.
    ///
    /// # Errors
    /// [`LayoutError::Unrecognised`].
    pub(crate) fn places(&self, memory: &Memory) -> Result<Places<'_>, LayoutError> {
        let mut names = BTreeMap::new();
        for (index, domain) in self.domains.iter().enumerate() {
            let own = memory.roots(self.paging, &domain.known);
            match own.as_slice() {
                [root] if !names.contains_key(root) => names.insert(*root, index),
                _ => {
                    return Err(LayoutError::Unrecognised {
                        domain: domain.name.clone(),
                        count: own.len(),
                    });
                }
            };
        }
        Ok(Places::new(self, memory, &names))
    }

    /// A function of a protection domain whose name holds this.
    pub fn function(&self, domain: &str, part: &str) -> Option<Function> {
        let mut domains = self.domains.iter();
        let program = &domains.find(|other| other.name == domain)?.program;
        let mut symbols = program.symbols.iter();
        let (address, ..) = symbols.find(|(.., name)| name.contains(part))?;
        let mut segments = program.segments.iter();
        let code = segments.find_map(|(start, code)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            code.get(offset..offset + FUNCTION)
        })?;
        Some(Function {
            address: *address,
            code: code.to_vec(),
        })
    }

    fn name(&self, domain: usize) -> String {
        self.domains[domain].name.clone()
    }
}

/// The places of one machine at one moment.
pub struct Places<'a> {
    layout: &'a Layout,
    /// The domains that map a physical page, each with the virtual address.
    pages: BTreeMap<u64, Vec<(usize, u64)>>,
    /// The pages that domains write, by domain and virtual address.
    writable: BTreeMap<(usize, u64), u64>,
    /// Paging structures and the domain that they are for.
    tables: BTreeMap<u64, usize>,
    /// Threads' objects.
    threads: BTreeMap<u64, usize>,
    /// The domain whose vector registers are in the processor.
    vector_owner: Option<usize>,
    /// The domain that runs.
    current: Option<usize>,
}

impl<'a> Places<'a> {
    fn new(layout: &'a Layout, memory: &Memory, names: &BTreeMap<u64, usize>) -> Self {
        let paging = layout.paging;
        let mut places = Self {
            layout,
            pages: BTreeMap::new(),
            writable: BTreeMap::new(),
            tables: BTreeMap::new(),
            threads: BTreeMap::new(),
            vector_owner: None,
            current: None,
        };
        for (root, domain) in names {
            let Space { pages, tables } = memory.space(paging, *root);
            places
                .tables
                .extend(tables.iter().map(|table| (*table, *domain)));
            for (address, page) in pages {
                let maps = places.pages.entry(page.physical).or_default();
                maps.push((*domain, address));
                if page.write {
                    places.writable.insert((*domain, address), page.physical);
                }
            }
        }
        let threads = memory.threads(paging, |root| names.contains_key(&root));
        places.threads = threads
            .into_iter()
            .map(|(thread, root)| (thread, names[&root]))
            .collect();
        let owner = |name| {
            let pointer = memory.word(layout.kernel.physical(name)?)?;
            let thread = paging.of_kernel(pointer)? & !(THREAD - 1);
            places.threads.get(&thread).copied()
        };
        (places.vector_owner, places.current) = (owner(layout.vector_owner), owner(CURRENT));
        places
    }

    /// The memory that these domains write, each contiguous part by itself.
    pub(crate) fn writable_memory(
        &self,
        owners: &BTreeSet<String>,
        memory: &Memory,
    ) -> Vec<Vec<u8>> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut end = None;
        for ((domain, address), physical) in &self.writable {
            if !owners.contains(&self.layout.domains[*domain].name) {
                continue;
            }
            let page = memory.page(*physical).unwrap_or_default();
            match parts.last_mut() {
                Some(part) if end == Some((*domain, *address)) => part.extend(page),
                _ => parts.push(page.to_vec()),
            }
            end = Some((*domain, address + PAGE));
        }
        parts
    }

    /// What lies at a physical address.
    pub fn at(&self, address: u64) -> Place {
        let page = address & !(PAGE - 1);
        if let Some(maps) = self.pages.get(&page) {
            return self.mapped(maps, address - page);
        }
        if let Some((thread, domain)) = self.threads.range(..=address).next_back()
            && address < thread + THREAD
        {
            let register = (address - thread).checked_sub(self.layout.registers);
            let vectors = &self.layout.paging.vectors;
            let what = match register {
                Some(offset) if vectors.contains(&offset) => "kernel: saved vector registers",
                _ => "kernel: thread object",
            };
            return self.kernels(*domain, what);
        }
        if let Some(domain) = self.tables.get(&page) {
            return self.kernels(*domain, "kernel: paging structure");
        }
        if let Some(symbol) = self.layout.kernel.symbol_at_physical(address) {
            return Place {
                symbol: Some(symbol),
                ..Place::nobodys("kernel image")
            };
        }
        Place::nobodys(match self.layout.kernel.holds_physical(address) {
            true => "kernel image",
            false => {
                "mapped by no protection domain: kernel objects, initialiser, boot image or unused memory"
            }
        })
    }

    /// The physical addresses of the general registers that the kernel has saved.
    pub(crate) fn saved_registers(&self) -> impl Iterator<Item = u64> {
        let (general, registers) = (&self.layout.paging.general, self.layout.registers);
        let (first, end) = (registers + general.start, registers + general.end);
        let threads = self.threads.keys();
        threads.flat_map(move |thread| (first..end).step_by(8).map(move |offset| thread + offset))
    }

    /// The processor's own general registers.
    pub(crate) fn general_registers(&self) -> Place {
        self.processors(self.current, "processor: general registers")
    }

    /// The processor's own vector registers.
    pub(crate) fn vector_registers(&self) -> Place {
        self.processors(self.vector_owner, "processor: vector registers")
    }

    fn processors(&self, domain: Option<usize>, what: &str) -> Place {
        match domain {
            Some(domain) => self.kernels(domain, what),
            None => Place::nobodys(what),
        }
    }

    /// What the kernel keeps for a domain.
    fn kernels(&self, domain: usize, what: &str) -> Place {
        Place {
            owners: [self.layout.name(domain)].into(),
            ..Place::nobodys(what)
        }
    }

    fn mapped(&self, maps: &[(usize, u64)], offset: u64) -> Place {
        let (domain, virt) = maps[0];
        let domain = &self.layout.domains[domain];
        let address = virt + offset;
        let region = domain
            .ranges
            .iter()
            .find(|(range, _)| range.contains(&address));
        Place {
            owners: maps
                .iter()
                .map(|(domain, _)| self.layout.name(*domain))
                .collect(),
            region: region.map_or_else(|| "program".into(), |(_, name)| name.clone()),
            symbol: match region {
                Some(_) => None,
                None => domain.program.symbol(address),
            },
        }
    }
}

impl Domain {
    fn read(
        system: &System,
        target: &Target,
        folder: &Path,
        domain: &ProtectionDomain,
    ) -> Result<Self, LayoutError> {
        let program = Program::read(&folder.join(&domain.program_image))?;
        let mut known = program.segments.clone();
        let stack_top = target.stack_top();
        let mut ranges = vec![
            (
                stack_top - domain.stack_size..stack_top,
                "stack".to_string(),
            ),
            (
                target.ipc_buffer()..target.ipc_buffer() + PAGE,
                "IPC buffer".to_string(),
            ),
        ];
        for map in &domain.maps {
            let Some(region) = system.region(&map.region) else {
                continue;
            };
            ranges.push((map.vaddr..map.vaddr + region.size, map.region.clone()));
            if let Some(prefill) = &region.prefill
                && !map.permissions.write
            {
                let path = folder.join(prefill);
                known.push((map.vaddr, fs::read(&path).map_err(file_error(&path))?));
            }
        }
        Ok(Self {
            name: domain.name.clone(),
            program,
            ranges,
            known,
        })
    }
}

impl Program {
    /// Segments are kept where they are code: nothing of that changes at run time.
    fn read(path: &Path) -> Result<Self, LayoutError> {
        let bytes = fs::read(path).map_err(file_error(path))?;
        let wrong = |error| LayoutError::Elf {
            path: path.display().to_string(),
            error,
        };
        let file = ElfFile64::<LittleEndian>::parse(&*bytes).map_err(wrong)?;
        let mut program = Self::default();
        for header in file.elf_program_headers() {
            if header.p_type(LittleEndian) != PT_LOAD {
                continue;
            }
            let address = header.p_vaddr(LittleEndian);
            let size = header.p_memsz(LittleEndian);
            program
                .loads
                .push((address, header.p_paddr(LittleEndian), size));
            if header.p_flags(LittleEndian).0 & PF_X.0 != 0 {
                let content = header.data(LittleEndian, &*bytes).unwrap_or_default();
                program.segments.push((address, content.to_vec()));
            }
        }
        program.symbols = file
            .symbols()
            .filter(|symbol| symbol.size() > 0 && symbol.address() != 0)
            .filter_map(|symbol| {
                let name = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
                Some((symbol.address(), symbol.size(), name))
            })
            .collect();
        program.symbols.sort();
        Ok(program)
    }

    /// The symbol that a virtual address lies in, and how far.
    fn symbol(&self, address: u64) -> Option<String> {
        let next = self.symbols.partition_point(|symbol| symbol.0 <= address);
        let (start, size, name) = self.symbols.get(next.checked_sub(1)?)?;
        (address < start + size).then(|| format!("{name}+{:#x}", address - start))
    }

    fn symbol_at_physical(&self, address: u64) -> Option<String> {
        let (virt, physical, _) = self.load(address)?;
        self.symbol(virt + (address - physical))
    }

    fn holds_physical(&self, address: u64) -> bool {
        self.load(address).is_some()
    }

    fn load(&self, address: u64) -> Option<(u64, u64, u64)> {
        let mut loads = self.loads.iter().copied();
        loads.find(|(_, physical, size)| (*physical..physical + size).contains(&address))
    }

    /// The physical address of a variable.
    fn physical(&self, name: &str) -> Option<u64> {
        let (address, ..) = self.symbols.iter().find(|(_, _, symbol)| symbol == name)?;
        let mut loads = self.loads.iter();
        let (virt, physical, _) =
            loads.find(|(virt, _, size)| (*virt..virt + size).contains(address))?;
        Some(physical + (address - virt))
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> LayoutError {
    let path = path.display().to_string();
    move |error| LayoutError::File { path, error }
}
