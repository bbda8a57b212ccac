//! Runs a program of `stress/` as the root task of a kernel, in QEMU.
//!
//! The programs say `OK` or `FAIL` on the serial port, and end QEMU with a status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use selkie_kernel::{Config, build};

/// What `isa-debug-exit` makes of the programs' two verdicts.
pub const PASSED: i32 = 0x10 << 1 | 1;
/// The other one.
pub const FAILED: i32 = 0x20 << 1 | 1;

/// How long a machine may print nothing before it is taken to hang. The programs print several times a second.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a run may take in all. They take three seconds on an idle machine.
const BOUND: Duration = Duration::from_secs(120);

/// How a machine's run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// QEMU ended by itself: with a program's verdict, or with 0 after the processor reset itself.
    Status(i32),
    /// Nothing happened any more.
    Silent,
    /// It went on and on.
    Endless,
}

/// A running machine, which ends with this value.
pub struct Machine {
    qemu: Child,
    serial: PathBuf,
}

impl Machine {
    /// Builds a kernel and starts it with a program and further QEMU arguments.
    pub fn start(program: &str, config: &Config, arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let kernel = build(&root, &folder.join("kernels"), config, &mut |_| ()).unwrap();
        let serial = kernel.elf.with_file_name(format!("{program}.serial"));
        fs::write(&serial, "").unwrap();
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-cpu", "max", "-m", "64"])
            .args(["-display", "none", "-no-reboot", "-serial"])
            .arg(format!("file:{}", serial.display()))
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .args(arguments)
            .arg("-kernel")
            .arg(&kernel.elf)
            .arg("-initrd")
            .arg(programs().join(program))
            .args(["-append", "disable_iommu"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("QEMU is needed: apt-get install qemu-system-x86");
        Self { qemu, serial }
    }

    /// Waits until the machine ends, or is ended.
    pub fn end(&mut self) -> End {
        let start = Instant::now();
        let (mut printed, mut last) = (0, start);
        while start.elapsed() < BOUND {
            if let Some(status) = self.qemu.try_wait().unwrap() {
                return End::Status(status.code().unwrap_or(-1));
            }
            let size = fs::metadata(&self.serial).unwrap().len();
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

    /// What the machine printed so far.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.serial).unwrap()).into_owned()
    }

    /// QEMU's process.
    pub fn process(&self) -> u32 {
        self.qemu.id()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
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
