//! For boards of the Microkit SDK: takes the kernel's interface from the SDK's own C headers.
//!
//! `src/microkit/kernel.c` makes functions of the headers' inline functions. `src/microkit/constants.c` names numbers; the
//! compiler's assembly for it is read here, since on stable Rust there is no other way to get constants out of C that
//! needs no tool but the compiler.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::exit;

/// What marks a constant in the assembly.
const MARK: &str = "selkie_constant ";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SELKIE_MICROKIT_INCLUDE");
    if env::var("CARGO_CFG_SELKIE_BOARD").as_deref() != Ok("microkit") {
        return;
    }
    let Some(include) = env::var_os("SELKIE_MICROKIT_INCLUDE") else {
        fail("SELKIE_MICROKIT_INCLUDE does not name the headers of a Microkit SDK");
    };
    let sources = Path::new("src/microkit");
    for read in [sources, Path::new(&include)] {
        println!("cargo::rerun-if-changed={}", read.display());
    }
    let mut build = cc::Build::new();
    build.include(include).opt_level(2).flag("-ffreestanding");
    write_constants(&build, &sources.join("constants.c"));
    build
        .file(sources.join("kernel.c"))
        .compile("selkie_microkit");
}

/// Writes the constants as Rust to `OUT_DIR/constants.rs`.
fn write_constants(build: &cc::Build, source: &Path) {
    let mut command = build.get_compiler().to_command();
    let output = command.arg("-S").arg("-o").arg("-").arg(source).output();
    let output = output.unwrap_or_else(|error| fail(&format!("the C compiler: {error}")));
    if !output.status.success() {
        fail(&String::from_utf8_lossy(&output.stderr));
    }
    let mut rust = String::new();
    let assembly = String::from_utf8_lossy(&output.stdout);
    for line in assembly
        .lines()
        .filter_map(|line| line.trim().strip_prefix("#")?.strip_prefix(MARK))
    {
        let Some((name, value)) = line.split_once(' ') else {
            fail(&format!("not a constant: {line}"));
        };
        // x86's and Arm's assemblers mark constants.
        let Ok(value) = value.trim().trim_start_matches(['$', '#']).parse::<u64>() else {
            fail(&format!("not a number: {line}"));
        };
        writeln!(rust, "pub const {name}: u64 = {value};").expect("a string takes all text");
    }
    let file = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("constants.rs");
    if let Err(error) = std::fs::write(&file, rust) {
        fail(&format!("{}: {error}", file.display()));
    }
}

fn fail(reason: &str) -> ! {
    eprintln!("{reason}");
    exit(1)
}
