//! System descriptions: whatever the text, it is planned or refused with something to read; and what is planned
//! compiles to a system that passes the checks, is read back unchanged after it was written, and grants nothing that is
//! writable and executable.
//!
//! Input: edits of a correct description (see `fuzz::Seed`). Programs and board are those of the builder's own golden
//! tests, and so is the data.
#![no_main]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use fuzz::Seed;
use libfuzzer_sys::fuzz_target;
use microkit_sdf::parse;
use selkie::{Artefacts, CompileError, Plan, plan};
use tempfile::TempDir;

const VALUES: &[&str] = &[
    "",
    "0",
    "1K",
    "4K",
    "64K",
    "1M",
    "64M",
    "16777216T",
    "a",
    "A",
    "a.b",
    "ä",
    "tcpip",
    "tls",
    "vault",
    "site",
    "nic",
    "clock",
    "console",
    "supervisor",
    "entropy",
    "pci",
    "echo",
    "http",
    "net-driver",
    "serial0",
    "clock0",
    "rng0",
    "net0",
    "dhcp",
    "10.0.2.15/24",
    "development",
];

const LINES: &[&str] = &[
    "[protection.other]",
    "[protection.tls]",
    "[protection]",
    "[system]",
    "[[protection.list]]",
    "program = \"echo\"",
    "program = \"tls\"",
    "program = \"http\"",
    "program = \"many-faced\"",
    "program = \"hub\"",
    "program = \"signer\"",
    "priority = 254",
    "priority = -1",
    "memory = \"4K\"",
    "memory = \"10M\"",
    "memory = 9223372036854775807",
    "stack = \"16M\"",
    "device = \"net0\"",
    "config = {}",
    "config = { title = \"a\", address = \"dhcp\" }",
    "streams = \"tcpip\"",
    "streams = { from = \"tls\", listen = [1, 65535], connections = 1024, buffer = 512 }",
    "streams = { from = \"tcpip\", connect = true, buffer = 1048576 }",
    "streams = [\"tcpip\", { from = \"tls\" }]",
    "status = [\"tcpip\", \"nic\"]",
    "log = \"console\"",
    "time = { from = \"clock\" }",
    "sign = \"signer\"",
    "# a comment",
];

const DOCUMENT: &str = r#"[system]
name = "test"

[protection.supervisor]
program = "supervisor"

[protection.console]
program = "console"
device = "serial0"

[protection.clock]
program = "clock"
device = "clock0"

[protection.entropy]
program = "entropy"
device = "rng0"

[protection.pci]
program = "pci"
device = "pci0"

[protection.nic]
program = "net-driver"
device = "net0"

[protection.tcpip]
program = "tcpip"
packets = { from = "nic", buffers = 64 }
config = { address = "10.0.2.15/24" }

[protection.vault]
program = "vault"

[protection.tls]
program = "tls"
streams = { from = "tcpip", listen = [443, 8443] }
sign = "vault"
memory = "9M"

[protection.site]
program = "http"
streams = { from = "tls", connections = 64, buffer = 4096 }
status = ["tcpip", "tls", "nic"]
config = { title = "Test" }
data = { site = "site" }
priority = 90
"#;

const SEED: Seed = Seed {
    document: DOCUMENT,
    values: VALUES,
    lines: LINES,
};

fuzz_target!(
    init: assert!(planned(DOCUMENT)),
    |input: &[u8]| {
        planned(&SEED.edited(input));
    }
);

/// Programs, board, a description and a stand-in for every program, in a folder of their own.
struct Workspace {
    folder: TempDir,
    description: PathBuf,
    program: PathBuf,
}

static WORKSPACE: LazyLock<Workspace> = LazyLock::new(|| {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../system/builder/tests/golden");
    let folder = tempfile::tempdir().unwrap();
    for name in ["protections", "system", "site"] {
        symlink(golden.join(name), folder.path().join(name)).unwrap();
    }
    let program = folder.path().join("program.elf");
    fs::write(&program, program_file()).unwrap();
    Workspace {
        description: folder.path().join("test.toml"),
        program,
        folder,
    }
});

/// An ELF file with one segment that is read and executed, at 2 MiB.
fn program_file() -> Vec<u8> {
    const ADDRESS: u64 = 0x20_0000;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    elf.resize(16, 0);
    // Executable, x86-64, version 1, entry, program headers, no sections.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [ADDRESS, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, ADDRESS, ADDRESS, 120, 0x2345, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf
}

/// Whether there is a plan of this description; what comes of it is checked.
fn planned(text: &str) -> bool {
    let workspace = &*WORKSPACE;
    fs::write(&workspace.description, text).unwrap();
    match plan(workspace.folder.path(), &workspace.description, "pc99") {
        Ok(plan) => {
            compiled(&plan);
            true
        }
        Err(diagnostics) => {
            assert!(!diagnostics.problems.is_empty());
            assert!(diagnostics.render(true).contains("nothing was built"));
            false
        }
    }
}

fn compiled(plan: &Plan) {
    let programs = plan.programs().into_iter();
    let elfs = programs.map(|name| (name.to_owned(), WORKSPACE.program.clone()));
    let artefacts = Artefacts {
        elfs: elfs.collect(),
        symbols: Vec::new(),
    };
    let compiled = match plan.compile(&artefacts) {
        Ok(compiled) => compiled,
        // Known only when the programs are: no address space or memory is left for so much.
        Err(error) => {
            assert!(!matches!(error, CompileError::Rules(_)), "{error}");
            return;
        }
    };
    let target = plan.board.target;
    assert_eq!(compiled.system.check(&target), Ok(()));
    let folder = WORKSPACE.folder.path();
    compiled.write(folder).unwrap();
    let written = compiled.system.to_xml();
    assert_eq!(
        parse(&written, &target, &[folder]).as_ref(),
        Ok(&compiled.system),
        "{written}"
    );
    for (domain, _) in compiled.system.domains() {
        for map in &domain.maps {
            assert!(
                !(map.permissions.write && map.permissions.execute),
                "{} of {}",
                map.region,
                domain.name
            );
        }
    }
}
