//! Programs have the same bytes in whatever folder they are built, and name no folder of the machine.

use std::fs;
use std::path::Path;

use microkit_sdf::Architecture;
use selkie::programs::{Kernel, Platform, Variant, build};

/// What a program is built of.
const SOURCES: [&str; 8] = [
    "components",
    "drivers",
    "protections",
    "runtime",
    "sel4",
    "sel4-microkit",
    "system",
    "Cargo.toml",
];

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("the folder is writable");
        for entry in fs::read_dir(from).expect("it is readable") {
            let name = entry.expect("it is readable").file_name();
            if name != "target" {
                copy(&from.join(&name), &to.join(&name));
            }
        }
    } else {
        fs::copy(from, to).expect("it is readable, and there is room");
    }
}

/// The bytes of a program of a copy of the repository.
fn built(copied: &Path) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in SOURCES {
        copy(&root.join(name), &copied.join(name));
    }
    let platform = Platform {
        architecture: Architecture::X86_64,
        kernel: Kernel::Pc99,
        variant: Variant::Release,
        features: Vec::new(),
    };
    let output = copied.join("target/protections");
    let programs = build(copied, &output, &["clock"], &platform, &mut |_| {});
    let programs = programs.unwrap_or_else(|error| panic!("{error}"));
    fs::read(&programs["clock"]).expect("it was built")
}

#[test]
fn programs_are_the_same_in_any_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let here = built(&folder.path().join("here"));
    let there = built(&folder.path().join("farther away/there"));
    assert!(here == there, "they differ");
    let names = |text: &str| {
        here.windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    // What panics name is there, so what is looked for would be seen.
    assert!(names("/selkie/protections") && names("/library/core/src/"));
    let place = folder.path().to_string_lossy();
    assert!(!names(&place), "{place} is in it");
    assert!(!names("/rustlib/"), "the toolchain's folder is in it");
}
