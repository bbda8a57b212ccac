//! What one description becomes on boards that differ: without PCI, with an IOMMU, with and without budgets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use microkit_sdf::{Interrupt, Permissions, System, Target, Trigger};
use selkie::board::Board;
use selkie::microkit::{self, Sdk, ToolError};
use selkie::settings::{Configuration, Settings};
use selkie::{Artefacts, Compiled, Plan, plan};

const DESCRIPTION: &str = r#"
[system]
name = "test"

[protection.console]
program = "console"
device = "serial0"

[protection.clock]
program = "clock"
device = "clock0"
passive = true

[protection.entropy]
program = "entropy"
device = "rng0"

[protection.pci]
program = "pci"
device = "pci0"

[protection.nic]
program = "net-driver"
device = "net0"
budget = 2000
period = 10000

[protection.tcpip]
program = "tcpip"
packets = "nic"
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn planned(board: &str) -> Plan {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("test.toml");
    fs::write(&path, DESCRIPTION).expect("it is writable");
    plan(&root(), &path, board).unwrap_or_else(|error| panic!("{error}"))
}

/// An executable for this machine (ELF's number) with one segment.
fn elf(machine: u16) -> Vec<u8> {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    elf.resize(16, 0);
    elf.extend([2, 0]);
    elf.extend(machine.to_le_bytes());
    elf.extend([1, 0, 0, 0]);
    for word in [0x20_0000u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, 0x20_0000, 0x20_0000, 120, 0x2345, 0x1000u64] {
        elf.extend(word.to_le_bytes());
    }
    elf
}

/// The system for a board, with stand-ins for its programs.
fn compiled(plan: &Plan) -> Compiled {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    compiled_in(plan, folder.path())
}

/// As [`compiled`], with the stand-ins in this folder.
fn compiled_in(plan: &Plan, folder: &Path) -> Compiled {
    let program = folder.join("program.elf");
    let machine = match plan.board.target {
        Target::X86_64 => 62,
        _ => 183,
    };
    fs::write(&program, elf(machine)).expect("it is writable");
    let elfs: BTreeMap<String, PathBuf> = plan
        .programs()
        .into_iter()
        .map(|name| (name.to_string(), program.clone()))
        .collect();
    let artefacts = Artefacts {
        elfs,
        symbols: Vec::new(),
    };
    plan.compile(&artefacts).expect("the plan is right")
}

fn names(plan: &Plan) -> Vec<&str> {
    let protections = plan.protections.iter();
    protections.map(|p| p.name.as_str()).collect()
}

fn interrupt(system: &System, name: &str) -> Interrupt {
    let domains = system.domains().into_iter();
    let mut domains = domains.map(|(domain, _)| domain);
    let domain = domains.find(|domain| domain.name == name);
    domain.expect("it exists").irqs[0].source
}

#[test]
fn what_is_only_for_an_absent_kind_of_device_is_left_out_and_said() {
    let with = planned("pc99");
    assert!(names(&with).contains(&"pci"));
    let to_pci = with
        .connections
        .iter()
        .filter(|c| c.interface.name == "pci");
    assert_eq!(to_pci.count(), 2);
    let without = planned("virt");
    assert!(!names(&without).contains(&"pci"));
    let mut connections = without.connections.iter();
    assert!(connections.all(|c| c.interface.name != "pci"));
    let note = "`pci` is left out: the board `virt` has no device of its kind";
    assert_eq!(without.notes, [note]);
}

#[test]
fn interrupts_have_the_boards_form() {
    let aarch64 = compiled(&planned("virt"));
    assert_eq!(aarch64.system.check(&Target::AARCH64), Ok(()));
    let (irq, trigger) = (72, Trigger::Level);
    let expected = Interrupt::Number { irq, trigger };
    assert_eq!(interrupt(&aarch64.system, "nic"), expected);
    let x86 = compiled(&planned("iommu"));
    let found = interrupt(&x86.system, "nic");
    assert!(
        matches!(found, Interrupt::IoApic { pin: 22, .. }),
        "{found:?}"
    );
}

#[test]
fn devices_behind_an_iommu_reach_their_drivers_transfers_and_nothing_else() {
    let system = compiled(&planned("iommu")).system;
    assert_eq!(system.check(&Target::X86_64), Ok(()));
    let spaces: Vec<(&str, String, Vec<&str>)> = system
        .io_address_spaces
        .iter()
        .map(|space| {
            let regions = space.maps.iter().map(|map| map.region.as_str());
            let address = space.peripheral.to_string();
            (space.name.as_str(), address, regions.collect())
        })
        .collect();
    let net = vec!["tcpip.packets.pool_nic", "nic.dma"];
    let expected = [
        ("rng0", "00:03.0".to_string(), vec!["entropy.dma"]),
        ("net0", "00:02.0".to_string(), net),
    ];
    assert_eq!(spaces, expected);
    for map in system
        .io_address_spaces
        .iter()
        .flat_map(|space| &space.maps)
    {
        let region = system.region(&map.region).expect("it exists");
        assert_eq!(region.phys_addr, Some(map.address));
        assert_eq!(map.permissions, Permissions::READ_WRITE);
    }
    let domains: Vec<u64> = system
        .io_address_spaces
        .iter()
        .map(|s| s.domain_id)
        .collect();
    assert_eq!(domains, [1, 2]);
    assert!(
        compiled(&planned("pc99"))
            .system
            .io_address_spaces
            .is_empty()
    );
}

#[test]
fn budgets_are_passed_on_where_the_kernel_has_them() {
    let xml = compiled(&planned("virt")).system.to_xml();
    let nic = xml.lines().find(|line| line.contains("name=\"nic\""));
    let nic = nic.expect("it is described");
    assert!(nic.contains("budget=\"2000\" period=\"10000\""), "{nic}");
    let clock = xml.lines().find(|line| line.contains("name=\"clock\""));
    assert!(clock.is_some_and(|line| line.contains("passive=\"true\"")));
    let plan = planned("pc99");
    assert_eq!(plan.notes.len(), 2, "{:?}", plan.notes);
    assert!(plan.notes[1].contains("`budget`, `period` of `nic` without effect"));
    let xml = compiled(&plan).system.to_xml();
    assert!(!xml.contains("budget") && !xml.contains("passive"));
}

/// An SDK whose tool is this shell script.
fn sdk(script: &str) -> (Sdk, tempfile::TempDir) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let tool = folder.path().join("bin/microkit");
    fs::create_dir_all(folder.path().join("bin")).expect("it is writable");
    fs::create_dir_all(folder.path().join("board/virt/release")).expect("it is writable");
    fs::write(folder.path().join("VERSION"), "2.3.0\n").expect("it is writable");
    fs::write(&tool, format!("#!/bin/sh\n{script}\n")).expect("it is writable");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let settings = Settings {
        path: Some(folder.path().to_path_buf()),
        ..Settings::default()
    };
    let sdk = Sdk::named(&settings, None).expect("it has all that is looked at");
    (sdk, folder)
}

#[test]
fn what_the_tool_refuses_is_shown_where_the_description_says_it() {
    let plan = planned("virt");
    let output = tempfile::tempdir().expect("a temporary folder can be made");
    let compiled = compiled_in(&plan, output.path());
    compiled.write(output.path()).expect("it is writable");
    let file = output.path().join("test.system");
    let text = fs::read_to_string(&file).expect("it was written");
    let pool = "memory_region name=\"tcpip.packets.pool_nic\"";
    let line = text.lines().position(|line| line.contains(pool));
    let line = line.expect("the pool is described") + 1;
    let script =
        format!("echo \"Error: too far away on element 'memory_region': $1:{line}:5\" >&2; exit 1");
    let (sdk, _folder) = sdk(&script);
    let board = Board::load(&root(), "virt").expect("it is right");
    let made = microkit::image(
        &sdk,
        &board,
        Configuration::Release,
        &file,
        &[output.path()],
        output.path(),
    );
    let Err(ToolError::Refused { said, place }) = made else {
        panic!("{made:?}")
    };
    assert_eq!(place, Some((line, 5)));
    let shown = compiled.refused(&said, Some(line)).to_string();
    assert!(shown.contains("too far away"), "{shown}");
    // `packets = "nic"`, the last line of the description.
    assert!(shown.contains("test.toml:30:11"), "{shown}");
    assert!(shown.contains("it stands in test.system as"), "{shown}");
}

#[test]
fn what_the_tool_is_asked_for() {
    let script = "for word; do echo \"$word\"; done > asked; echo $MICROKIT_SDK >> asked";
    let (sdk, folder) = sdk(script);
    let board = Board::load(&root(), "virt").expect("it is right");
    let (output, base) = (folder.path().join("out"), folder.path().join("base"));
    fs::create_dir_all(&output).expect("it is writable");
    let image = microkit::image(
        &sdk,
        &board,
        Configuration::Benchmark,
        Path::new("/t/a.system"),
        &[&base, &output],
        &output,
    );
    let image = image.expect("the tool says yes to everything");
    assert_eq!(image.file, output.join("loader.img"));
    assert_eq!(image.kernel, None);
    let asked = fs::read_to_string(output.join("asked")).expect("it was written");
    let folder = folder.path().display();
    let expected = format!(
        "/t/a.system\n--board\nvirt\n--config\nbenchmark\n--output\n{folder}/out/loader.img\n--report\n\
         {folder}/out/report.txt\n--search-path\n{folder}/base\n{folder}/out\n{folder}\n"
    );
    assert_eq!(asked, expected);
}

/// The repository itself: its boards and descriptions.
fn repository() -> PathBuf {
    selkie::cli::root()
}

fn planned_here(system: &str, board: &str) -> Result<Plan, String> {
    let root = repository();
    let path = root.join(system);
    plan(&root, &path, board).map_err(|wrong| wrong.to_string())
}

#[test]
fn every_system_is_right_for_every_machine_as_it_stands() {
    for machine in selkie_qemu::MACHINES {
        for system in ["echo", "http", "https"] {
            let plan = planned_here(&format!("system/{system}.toml"), machine.name);
            plan.unwrap_or_else(|wrong| panic!("{system} on {}: {wrong}", machine.name));
        }
    }
}

/// The vault's line is a UART at I/O ports on one board and a virtio device on the other.
#[test]
fn memory_for_transfers_goes_to_who_drives_a_device_that_makes_some() {
    for (board, transfers) in [
        ("pc99", false),
        ("x86_64_generic", false),
        ("qemu_virt_aarch64", true),
    ] {
        let plan = planned_here("tests/systems/provision.toml", board);
        let system = compiled(&plan.unwrap_or_else(|wrong| panic!("{wrong}"))).system;
        assert_eq!(system.region("vault.dma").is_some(), transfers, "{board}");
        assert!(system.region("nic.dma").is_some());
    }
}

#[test]
fn a_board_without_drivers_says_which_are_missing_and_how_to_add_them() {
    let wrong = planned_here("system/https.toml", "rpi4b_2gb").expect_err("they are missing");
    for kind in ["bcm2835-system-timer", "bcm2711-rng200", "bcm2711-genet"] {
        let help = format!("there is no driver for a `{kind}` yet; docs/porting.md says how");
        assert!(wrong.contains(&help), "{wrong}");
    }
    assert!(repository().join("docs/porting.md").is_file());
    let bare = planned_here("tests/systems/bare.toml", "rpi4b_2gb");
    assert_eq!(bare.map(|plan| plan.protections.len()), Ok(2));
}
