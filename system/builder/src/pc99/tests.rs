//! Tests of the image builder; what it builds runs in the end-to-end tests.

use std::collections::HashMap;
use std::path::PathBuf;

use initialiser_spec::{
    Domain, Fill, Grant, Level, Object, PageBits, Region, Rights, Spec, Table, badge, slot,
};
use microkit_sdf::parse;
use object::elf::{PF_R, PF_W, PF_X, PT_LOAD, ProgramFlags};

use super::*;

const CODE: u64 = 0x20_0000;
const DATA: u64 = 0x20_1000;
/// The symbols that every program has, with their sizes.
const SYMBOLS: [(&str, u64); 7] = [
    ("microkit_name", 64),
    ("microkit_passive", 8),
    ("microkit_irqs", 8),
    ("microkit_notifications", 8),
    ("microkit_pps", 8),
    ("microkit_ioports", 8),
    ("variable", 8),
];

/// A program with a page of code, a page of variables and 0x1800 zeroed bytes behind them.
fn program() -> Vec<u8> {
    let flags = |flag: ProgramFlags| ProgramFlags(PF_R.0 | flag.0);
    let variables = [0; 256];
    let bytes = elf_writer::write(
        CODE,
        &[
            (PT_LOAD, flags(PF_X), CODE, b"code", 4),
            (PT_LOAD, flags(PF_W), DATA, &variables, 256 + 0x1800),
        ],
    );
    with_symbols(bytes)
}

/// Appends a section table with the symbols, which lie one behind the other from [`DATA`].
fn with_symbols(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut names = vec![0];
    let mut table = vec![0; 24];
    let mut address = DATA;
    for (name, size) in SYMBOLS {
        table.extend((names.len() as u32).to_le_bytes());
        // A global object in some section.
        table.extend([0x11, 0, 1, 0]);
        let size_there = if name == "microkit_passive" { 1 } else { size };
        table.extend(address.to_le_bytes());
        table.extend(u64::to_le_bytes(size_there));
        names.extend(name.as_bytes());
        names.push(0);
        address += size;
    }
    // Tables are aligned in a file.
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let (table_at, names_at) = (bytes.len() as u64, (bytes.len() + table.len()) as u64);
    let symbols = (table.len() as u64, names.len() as u64);
    bytes.extend(table);
    bytes.extend(names);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let sections_at = bytes.len() as u64;
    // Null, the symbol table (linked to section 2), its strings.
    for (kind, at, size, link, entry) in [
        (0_u32, 0, 0, 0_u32, 0_u64),
        (2, table_at, symbols.0, 2, 24),
        (3, names_at, symbols.1, 0, 0),
    ] {
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        for word in [0, 0, at, size] {
            bytes.extend(u64::to_le_bytes(word));
        }
        bytes.extend(link.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(entry.to_le_bytes());
    }
    bytes[40..48].copy_from_slice(&sections_at.to_le_bytes());
    bytes[58..60].copy_from_slice(&64_u16.to_le_bytes());
    bytes[60..62].copy_from_slice(&3_u16.to_le_bytes());
    bytes[62..64].copy_from_slice(&2_u16.to_le_bytes());
    bytes
}

fn files() -> HashMap<PathBuf, Vec<u8>> {
    [
        ("a.elf", program()),
        ("b.elf", program()),
        ("prefill", vec![7; 5000]),
    ]
    .map(|(name, content)| (name.into(), content))
    .into()
}

fn build(system: &str) -> Result<Image, ImageError> {
    let folder = tempfile::tempdir().unwrap();
    let files = files();
    // The parser wants to know how long prefills are.
    std::fs::write(
        folder.path().join("prefill"),
        &files[&PathBuf::from("prefill")],
    )
    .unwrap();
    let system = parse(
        &format!("<system>{system}</system>"),
        &TARGET,
        &[folder.path()],
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let read = |path: &Path| {
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        files
            .get(&name)
            .cloned()
            .ok_or(io::ErrorKind::NotFound.into())
    };
    image(&system, &read, &program())
}

fn domain(name: &str, priority: u8, rest: &str) -> String {
    format!(
        r#"<protection_domain name="{name}" priority="{priority}"><program_image path="{name}.elf"/>{rest}</protection_domain>"#
    )
}

/// What the initialiser finds behind itself: specification and data pages.
struct Blob(Vec<u8>);

impl Blob {
    fn of(image: &Image) -> Self {
        let executable = Executable::new(image.bytes.clone(), TARGET.architecture);
        // The initialiser's part is writable and executable to the kernel, and the headers say so.
        assert!(matches!(executable, Err(ElfError::WritableCode(_))));
        let start = image
            .bytes
            .windows(8)
            .position(|window| window == b"selkspec");
        Self(image.bytes[start.unwrap()..].to_vec())
    }

    fn spec(&self) -> Spec<'_> {
        Spec::new(&self.0).unwrap()
    }

    fn page(&self, number: u64) -> &[u8] {
        let first = self.spec().bytes().next_multiple_of(4096);
        &self.0[first + number as usize * 4096..][..4096]
    }

    fn region(&self, name: &str) -> Vec<Region> {
        let spec = self.spec();
        let regions = spec.regions();
        regions
            .filter(|region| spec.name(region.name) == name)
            .collect()
    }

    fn word(&self, domain: &str, offset: usize) -> u64 {
        let region = self.region(&format!("{domain}: data"))[0];
        let Fill::Pages { first } = region.fill else {
            panic!("data pages")
        };
        u64::from_le_bytes(self.page(first)[offset..offset + 8].try_into().unwrap())
    }
}

#[test]
fn segments_stack_and_paging_structures_are_laid_out() {
    let image = build(&domain("a", 7, "")).unwrap();
    let blob = Blob::of(&image);
    let spec = blob.spec();
    let a: Vec<Domain> = spec.domains().collect();
    assert_eq!(
        (a.len(), a[0].entry, a[0].priority, a[0].has_parent),
        (1, CODE, 7, false)
    );
    assert_eq!(
        (a[0].ipc_buffer, a[0].stack_top),
        (0x7fff_ffff_e000, 0x7fff_ffff_d000)
    );

    let code = blob.region("a: code")[0];
    assert_eq!((code.pages, code.page_bits), (1, PageBits::Small));
    let map = spec.maps(&code).next().unwrap();
    assert_eq!((map.address, map.write), (CODE, false));
    let Fill::Pages { first } = code.fill else {
        panic!("data pages")
    };
    assert!(blob.page(first).starts_with(b"code\0"));

    let zeroed = blob.region("a: zeroed data")[0];
    assert_eq!((zeroed.pages, zeroed.fill), (1, Fill::Zero));
    let map = spec.maps(&zeroed).next().unwrap();
    assert_eq!((map.address, map.write), (DATA + 0x1000, true));

    let stack = blob.region("a: stack")[0];
    assert_eq!(spec.maps(&stack).next().unwrap().address, 0x7fff_ffff_b000);

    let tables: Vec<Table> = spec.tables().collect();
    let at = |level, address| {
        tables.contains(&Table {
            level,
            domain: 0,
            address,
        })
    };
    assert_eq!(
        tables.len(),
        6,
        "three levels for the program, three for the stack"
    );
    assert!(at(Level::Pdpt, 0) && at(Level::PageDirectory, 0) && at(Level::PageTable, 0x20_0000));
    assert!(at(Level::PageTable, 0x7fff_ffe0_0000));
    assert!(tables.is_sorted_by_key(|table| table.level));
}

#[test]
fn regions_are_filled_shared_and_placed() {
    let regions = r#"
        <memory_region name="text" size="0x4000" prefill_path="prefill"/>
        <memory_region name="device" size="0x1000" phys_addr="0xfed00000"/>
        <memory_region name="dma" size="0x2000" phys_addr="0x2000000" prefill_path="prefill"/>
        <memory_region name="heap" size="0x400000"/>
        <memory_region name="unused" size="0x1000"/>"#;
    let maps = r#"
        <map mr="text" vaddr="0x30000000" perms="r" setvar_prefill_size="variable"/>
        <map mr="device" vaddr="0x30010000" perms="rw" cached="false"/>
        <map mr="dma" vaddr="0x30020000" perms="rw"/>
        <map mr="heap" vaddr="0x40000000" perms="rw"/>"#;
    let other = r#"<map mr="text" vaddr="0x50000000" perms="rw"/>"#;
    let image = build(&[regions, &domain("a", 1, maps), &domain("b", 2, other)].concat()).unwrap();
    let blob = Blob::of(&image);
    let spec = blob.spec();

    let order: Vec<Option<u64>> = spec
        .regions()
        .map(|region| region.physical)
        .take(3)
        .collect();
    assert_eq!(order, [Some(0x200_0000), Some(0xfed0_0000), None]);
    let heap = blob.region("heap")[0];
    assert_eq!((heap.pages, heap.page_bits), (2, PageBits::Large));
    assert_eq!(blob.region("unused"), []);

    let [filled, zeroed] = blob.region("text")[..] else {
        panic!("two parts")
    };
    assert_eq!(
        (filled.pages, zeroed.pages, zeroed.fill),
        (2, 2, Fill::Zero)
    );
    let maps: Vec<_> = spec
        .maps(&zeroed)
        .map(|map| (map.domain, map.address, map.write))
        .collect();
    assert_eq!(maps, [(0, 0x3000_2000, false), (1, 0x5000_2000, true)]);

    let dma = blob.region("dma")[0];
    let Fill::Copy { first, length } = dma.fill else {
        panic!("a copy")
    };
    assert_eq!(length, 5000);
    assert_eq!(
        (blob.page(first)[0], blob.page(first + 1)[5000 - 4096 - 1]),
        (7, 7)
    );
    assert_eq!(blob.page(first + 1)[5000 - 4096], 0);
    let device = blob.region("device")[0];
    assert!(!spec.maps(&device).next().unwrap().cached);

    assert_eq!(blob.word("a", 64 + 8 * 5), 5000, "setvar_prefill_size");
    let code = blob.region("a: code")[0];
    assert_eq!(spec.maps(&code).len(), 2, "the same program is there once");
    assert!(blob.region("b: code").is_empty());
}

#[test]
fn channels_children_interrupts_and_ports_become_capabilities() {
    let child = domain(
        "b",
        5,
        r#"<irq pin="22" vector="3" id="9" trigger="level" polarity="low"/>"#,
    )
    .replace("<protection_domain ", r#"<protection_domain id="4" "#);
    let parent = domain(
        "a",
        9,
        &[&child, r#"<ioport id="2" addr="0x3f8" size="8"/>"#].concat(),
    );
    let channel = r#"<channel><end pd="b" id="7" pp="true" notify="false"/><end pd="a" id="61" setvar_id="variable"/></channel>"#;
    let image = build(&[&parent, channel].concat()).unwrap();
    let blob = Blob::of(&image);
    let grants: Vec<Grant> = blob.spec().grants().collect();
    let has = |domain, slot: u64, object| {
        let slot = slot as u32;
        let grant = Grant {
            domain,
            slot,
            object,
        };
        assert!(grants.contains(&grant), "{grant:?} is not in {grants:#?}");
    };
    let endpoint = |badge, rights| Object::Endpoint {
        of: 0,
        badge,
        rights,
    };
    let notification = |of, badge, rights| Object::Notification { of, badge, rights };
    has(0, slot::INPUT, endpoint(0, Rights::Receive));
    has(1, slot::INPUT, notification(1, 0, Rights::Receive));
    has(
        1,
        slot::FAULT_ENDPOINT,
        endpoint(badge::fault(4), Rights::Call),
    );
    has(0, slot::CHILDREN + 4, Object::Thread { of: 1 });
    has(
        1,
        slot::OUTPUT_ENDPOINTS + 7,
        endpoint(badge::call(61), Rights::Call),
    );
    let signal = notification(1, badge::signal(7), Rights::Send);
    has(0, slot::OUTPUT_NOTIFICATIONS + 61, signal);
    let ports = Object::IoPorts {
        first: 0x3f8,
        last: 0x3ff,
    };
    has(0, slot::IO_PORTS + 2, ports);
    let interrupt = Object::Interrupt {
        ioapic: 0,
        pin: 22,
        level: true,
        active_low: true,
        vector: 3,
        badge: badge::signal(9),
    };
    has(1, slot::IRQS + 9, interrupt);
    assert_eq!(grants.len(), 8, "and no others");

    assert_eq!(blob.word("a", 0), u64::from(b'a'), "microkit_name");
    assert_eq!(blob.word("b", 64 + 8), 1 << 9, "microkit_irqs");
    assert_eq!(blob.word("a", 64 + 16), 1 << 61, "microkit_notifications");
    assert_eq!(blob.word("b", 64 + 24), 1 << 7, "microkit_pps");
    assert_eq!(blob.word("a", 64 + 32), 1 << 2, "microkit_ioports");
    assert_eq!(blob.word("a", 64 + 40), 61, "setvar_id");
}

#[test]
fn what_the_board_cannot_do_is_refused_or_warned_of() {
    let image =
        build(&domain("a", 1, "").replace("priority", r#"budget="500" fpu="false" priority"#))
            .unwrap();
    assert_eq!(image.warnings.len(), 2, "{:?}", image.warnings);

    let msi = r#"<irq pcidev="00:02.0" handle="0" vector="3" id="1"/>"#;
    let error = build(&domain("a", 1, msi)).unwrap_err();
    assert!(matches!(error, ImageError::Unsupported(..)), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("a: a message-signalled interrupt: not possible")
    );
}

#[test]
fn overlaps_and_missing_files_are_told_with_their_owner() {
    let region = r#"<memory_region name="r" size="0x1000"/>"#;
    let at = |address: &str| {
        let map = format!(r#"<map mr="r" vaddr="{address}" perms="rw"/>"#);
        build(&[region, &domain("a", 1, &map)].concat())
    };
    let error = at("0x202000").unwrap_err().to_string();
    assert_eq!(
        error,
        "a: region `r` at 0x202000 overlaps the program, which ends at 0x203000"
    );
    at("0x203000").unwrap();

    let error = build(&domain("absent", 1, "")).unwrap_err().to_string();
    assert!(
        error.starts_with("absent: cannot read absent.elf"),
        "{error}"
    );

    let unknown = r#"<setvar symbol="nowhere" region_paddr="r"/>"#;
    let region = r#"<memory_region name="r" size="0x1000" phys_addr="0x2000000"/>"#;
    let error = build(&[region, &domain("a", 1, unknown)].concat()).unwrap_err();
    assert_eq!(error.to_string(), "a: the program has no symbol `nowhere`");
}
