//! The kernel's fixes: each has a root task that fails on a kernel without the fix, and passes with it.
//!
//! The programs are in `stress/`. They run in QEMU, say `OK` or `FAIL` on the serial port, and end QEMU with a status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use selkie_kernel::{Config, Fix, build};

/// What `isa-debug-exit` makes of the programs' two verdicts.
const PASSED: i32 = 0x10 << 1 | 1;
const FAILED: i32 = 0x20 << 1 | 1;

/// How long a machine may print nothing before it is taken to hang. The programs print several times a second.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a run may take in all. They take three seconds on an idle machine.
const BOUND: Duration = Duration::from_secs(120);

#[test]
fn interrupts_during_long_system_calls() {
    passes_with_and_fails_without(Fix::StackReset, |end, serial| {
        // It crashes at some point, and says nothing more.
        *end != End::Status(PASSED) && !serial.contains("OK")
    });
}

#[test]
fn a_page_goes_with_its_capability() {
    passes_with_and_fails_without(Fix::UnmapOnDelete, |end, serial| {
        *end == End::Status(FAILED) && serial.contains("can still be read without a capability")
    });
}

#[test]
fn fault_addresses_are_whole() {
    passes_with_and_fails_without(Fix::FaultAddress, |end, serial| {
        *end == End::Status(FAILED) && serial.contains("reading 0x100000000 gave Err")
    });
}

/// Runs the fix's program on the release and the debug kernel, then on the release kernel without the fix.
fn passes_with_and_fails_without(fix: Fix, failed: impl Fn(&End, &str) -> bool) {
    for config in [Config::release(), Config::debug()] {
        let (end, serial) = run(fix, &config);
        assert!(
            end == End::Status(PASSED) && serial.contains("OK"),
            "{config:?}: {end:?}\n{serial}"
        );
    }
    let config = Config {
        without: Some(fix),
        ..Config::release()
    };
    let (end, serial) = run(fix, &config);
    assert!(
        failed(&end, &serial),
        "{config:?} did not fail as expected, so that the test proves nothing: {end:?}\n{serial}"
    );
}

/// How a machine's run ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// QEMU ended by itself: with a program's verdict, or with 0 after the processor reset itself.
    Status(i32),
    /// Nothing happened any more.
    Silent,
    /// It went on and on.
    Endless,
}

fn run(fix: Fix, config: &Config) -> (End, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let kernel = build(&root, &folder.join("fixes"), config, &mut |_| ()).unwrap();
    let variant = kernel.elf.parent().unwrap();
    let serial = variant.join(format!("{}.serial", fix.name()));
    fs::write(&serial, "").unwrap();
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-cpu", "max", "-m", "64"])
        .args(["-display", "none", "-no-reboot", "-serial"])
        .arg(format!("file:{}", serial.display()))
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel"])
        .arg(&kernel.elf)
        .arg("-initrd")
        .arg(programs().join(fix.name()))
        .args(["-append", "disable_iommu"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("QEMU is needed: apt-get install qemu-system-x86");
    let end = wait(&mut machine, &serial);
    // It may have ended already.
    let _ = machine.kill();
    machine.wait().unwrap();
    (
        end,
        String::from_utf8_lossy(&fs::read(&serial).unwrap()).into_owned(),
    )
}

fn wait(machine: &mut Child, serial: &Path) -> End {
    let start = Instant::now();
    let (mut printed, mut last) = (0, start);
    while start.elapsed() < BOUND {
        if let Some(status) = machine.try_wait().unwrap() {
            return End::Status(status.code().unwrap_or(-1));
        }
        let size = fs::metadata(serial).unwrap().len();
        if size != printed {
            (printed, last) = (size, Instant::now());
        }
        if last.elapsed() > SILENCE {
            return End::Silent;
        }
        sleep(Duration::from_millis(50));
    }
    End::Endless
}

/// The folder of the built programs.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stress");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--quiet", "--target-dir"])
            .arg(&target)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("stress"))
            // The flags are those of `stress/.cargo/config.toml`, which these would replace.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .status()
            .unwrap();
        assert!(status.success(), "the stress programs do not compile");
        target.join("x86_64-unknown-linux-gnu/release")
    })
}
