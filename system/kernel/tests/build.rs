//! The kernel's build: the same bytes wherever it runs, and no second build without a reason.

use std::fs;
use std::path::{Path, PathBuf};

use selkie_kernel::{Config, Kernel, KernelError, VERSION, build};

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder of this test's own; emptied, so that every run builds.
fn empty_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    folder
}

fn build_in(folder: &Path, config: &Config) -> Kernel {
    build(&workspace_root(), folder, config, &mut |_| ()).unwrap()
}

#[test]
fn the_same_bytes_in_every_folder() {
    for config in [Config::release(), Config::debug()] {
        let short = build_in(&empty_folder("a"), &config);
        let long = build_in(
            &empty_folder("another folder, with \"spaces\" and ä'/b"),
            &config,
        );
        assert!(short.rebuilt && long.rebuilt);
        assert_eq!(short.sha256, long.sha256, "{config:?}");
        let symbols = [&short, &long].map(|kernel| fs::read(&kernel.symbols).unwrap());
        assert!(symbols[0] == symbols[1], "symbols of {config:?}");
    }
}

#[test]
fn built_once_for_the_same_inputs() {
    let folder = empty_folder("cached");
    let mut steps = Vec::new();
    let first = build(
        &workspace_root(),
        &folder,
        &Config::release(),
        &mut |step| {
            steps.push(step.to_string());
        },
    )
    .unwrap();
    assert!(first.rebuilt && first.version == VERSION);
    assert!(
        steps.iter().any(|step| step == "compiling the kernel"),
        "{steps:?}"
    );

    let second = build_in(&folder, &Config::release());
    assert!(!second.rebuilt);
    assert_eq!(second.sha256, first.sha256);

    // Whatever was done to the file, it is not the kernel any more.
    fs::write(&second.elf, "not a kernel").unwrap();
    let third = build_in(&folder, &Config::release());
    assert!(third.rebuilt);
    assert_eq!(third.sha256, first.sha256);
}

#[test]
fn a_release_kernel_is_small_and_a_32_bit_file() {
    let kernel = build_in(&empty_folder("small"), &Config::release());
    let content = fs::read(&kernel.elf).unwrap();
    assert_eq!(content[..5], *b"\x7fELF\x01");
    assert_eq!(content.len() as u64, kernel.size);
    assert!(kernel.size < 200_000, "{} bytes", kernel.size);
    // The Multiboot 1 header has to lie within the first 8192 bytes (Multiboot 0.6.96, section 3.1).
    let magic = 0x1bad_b002_u32.to_le_bytes();
    assert!(content[..8192].chunks_exact(4).any(|word| word == magic));
}

#[test]
fn a_workspace_without_the_source_is_refused() {
    let folder = empty_folder("elsewhere");
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = "[package]\nname = \"elsewhere\"\nversion = \"0.0.0\"\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    let error = build(
        &folder,
        &folder.join("out"),
        &Config::release(),
        &mut |_| (),
    )
    .unwrap_err();
    assert!(matches!(error, KernelError::NotFetched { .. }), "{error}");
}
