//! Beside the Microkit SDK's own: its examples and our protection domains in one system file that is written by hand.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Completion, Trial};
use microkit_sdf::Architecture;
use selkie::cli::{Request, make, root};
use selkie::microkit::Sdk;
use selkie::programs::c_compiler;
use selkie::settings::{Configuration, Settings};
use selkie_tests::system::System;
use selkie_tests::{Failed, ensure, ground, program};

use crate::runtime::on_the_board;

/// A system without devices is up in a fraction of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names the SDK's example `rust`, built for the board that is tested: building it takes nightly Rust and rust-sel4's
/// repository.
const RUST_EXAMPLE: &str = "SELKIE_RUST_EXAMPLE";

pub fn trials() -> Vec<Trial> {
    if !ground().is_microkit() {
        return Vec::new();
    }
    vec![
        Trial::ignorable_test("sdk::hello_beside_selkie", || {
            beside("hello", "hello, world", hello)
        }),
        Trial::ignorable_test("sdk::rust_beside_selkie", || {
            beside("rust", "hello, world from Rust!", rust)
        }),
        Trial::ignorable_test("sdk::builds_for_a_real_board", real_board),
    ]
}

/// A board that QEMU does not emulate: an image comes out, and `run` says what to do with it.
fn real_board() -> Result<Completion, Failed> {
    const BOARD: &str = "rpi4b_2gb";
    if ground().board.target.architecture != Architecture::Aarch64 {
        return Ok(Completion::ignored_with("its processor is another"));
    }
    if sdk()?.board(BOARD, ground().configuration).is_err() {
        return Ok(Completion::ignored_with(format!("the SDK has no {BOARD}")));
    }
    let request = Request {
        system: root().join("tests/systems/bare.toml"),
        board: BOARD.into(),
        configuration: ground().configuration,
        memory: None,
    };
    let built = make(&root(), &request, &|_| {}).map_err(|error| format!("{error:#}"))?;
    ensure(built.machine.is_none() && built.image_size > 0, || {
        format!("{built:?}")
    })?;
    ensure(built.folder.join("report.txt").is_file(), || {
        "the tool's report is not kept".into()
    })?;
    Ok(Completion::Completed)
}

fn sdk() -> Result<Sdk, Failed> {
    let settings = Settings::load(&root()).map_err(|wrong| wrong.to_string())?;
    Ok(Sdk::find(&settings)?)
}

/// Where an example's program is made: in this folder, for this folder of the SDK.
type Make = fn(&Path, &Sdk) -> Result<Option<PathBuf>, Failed>;

/// Boots the example `name` beside our exercise. Ours writes to the serial port; the example prints with the kernel, which
/// only a debug kernel does.
fn beside(name: &str, says: &str, make: Make) -> Result<Completion, Failed> {
    let sdk = sdk()?;
    let folder = root()
        .join("target/selkie/tests/systems")
        .join(format!("beside-{name}"));
    fs::create_dir_all(&folder)?;
    let Some(elf) = make(&folder, &sdk)? else {
        return Ok(Completion::ignored_with(format!(
            "{RUST_EXAMPLE} names no program"
        )));
    };
    let content: Vec<u8> = (0..5000_u32).map(|n| (7 * n + 3) as u8).collect();
    fs::write(folder.join("exercise.bin"), content)?;
    let text = fs::read_to_string(root().join("tests/systems/exercise.system"))?;
    let example = format!(
        "<system>\n    <protection_domain name=\"{name}\">\n        <program_image path=\"{}\" />\n    </protection_domain>\n",
        elf.display()
    );
    let text = on_the_board(&text)?.replacen("<system>", &example, 1);
    let file = folder.join(format!("beside-{name}.system"));
    fs::write(&file, text)?;
    let system = System::boot(&file.to_string_lossy())?;
    system.wait_for_line(0, "caller: 1000 notifications each way", PATIENCE)?;
    if ground().configuration == Configuration::Debug {
        system.wait_for_line(0, says, PATIENCE)?;
    }
    let log = system.guest.serial().text();
    ensure(!log.contains("MON|ERROR"), || log.clone())?;
    Ok(Completion::Completed)
}

/// Compiles the SDK's example `hello` as its Makefile does.
fn hello(folder: &Path, sdk: &Sdk) -> Result<Option<PathBuf>, Failed> {
    let (board, configuration) = (&ground().board, ground().configuration);
    let parts = sdk.board(&board.name, configuration)?;
    let architecture = board.target.architecture;
    let compiler = c_compiler(architecture).map_or("cc", |compiler| compiler.program);
    let more: &[&str] = match architecture {
        Architecture::Aarch64 => &["-mstrict-align", "-mno-outline-atomics"],
        Architecture::Riscv64 => &["-march=rv64imafdc_zicsr_zifencei", "-mabi=lp64d"],
        Architecture::X86_64 => &["-march=x86-64", "-mtune=generic"],
    };
    let elf = folder.join("hello.elf");
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut words = vec![
        compiler.to_string(),
        path(sdk.folder.join("example/hello/hello.c")),
        "-o".into(),
        path(elf.clone()),
        format!("-I{}", path(parts.join("include"))),
        format!("-L{}", path(parts.join("lib"))),
        format!("-T{}", path(parts.join("lib/microkit.ld"))),
    ];
    let always = [
        "-nostdlib",
        "-ffreestanding",
        "-static",
        "-fno-pie",
        "-no-pie",
        "-O3",
    ];
    words.extend(always.iter().chain(more).map(ToString::to_string));
    words.extend(["-lmicrokit".into(), "-Wl,--build-id=none".into()]);
    program::run(&words, b"", Duration::from_secs(60))?.good()?;
    Ok(Some(elf))
}

/// The example `rust`, if somebody built it.
fn rust(_: &Path, _: &Sdk) -> Result<Option<PathBuf>, Failed> {
    Ok(env::var_os(RUST_EXAMPLE).map(PathBuf::from))
}
