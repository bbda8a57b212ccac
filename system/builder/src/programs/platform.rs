//! What programs are built for, and what the compilers must be told for it.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use microkit_sdf::Architecture;

/// Whether programs are for a debug kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// A debug kernel: programs print on its console, assertions are on.
    Debug,
    /// A release kernel.
    Release,
    /// A release kernel; nothing secret is overwritten, by the programs or by the crates that they use. The control of
    /// `selkie audit secrets`, for nothing else.
    Unwiped,
}

/// Whose interface programs speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// seL4 5.0.0 of the pc99 board.
    Pc99,
    /// The kernel of one board and configuration of a Microkit SDK.
    Microkit {
        /// The folder of its C headers, `board/BOARD/CONFIG/include` in the SDK.
        include: PathBuf,
    },
}

/// What programs are built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The processor.
    pub architecture: Architecture,
    /// The kernel.
    pub kernel: Kernel,
    /// Its kind.
    pub variant: Variant,
    /// Instructions that the board's processor has beyond what all of its architecture have, by rustc's names:
    /// `aes` and `sha2` on aarch64 make ring use them. A processor that lacks one of them ends a program with an
    /// undefined instruction: user level cannot ask it.
    pub features: Vec<String>,
}

/// A C compiler for another architecture than the developer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The compiler.
    pub program: &'static str,
    /// The program that makes libraries of what it compiled.
    pub archiver: &'static str,
    /// The Debian package that holds both or brings them along.
    pub package: &'static str,
}

impl Variant {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release | Self::Unwiped => "release",
        }
    }

    pub(super) fn profile(self) -> &'static str {
        match self {
            Self::Debug => "dev",
            Self::Release | Self::Unwiped => "release",
        }
    }
}

/// rustc's name for the target whose prebuilt `core` and `alloc` are used. Where ring has assembly that is a Linux
/// target: ring has none for others.
pub fn triple(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64-unknown-linux-gnu",
        Architecture::Aarch64 => "aarch64-unknown-linux-gnu",
        Architecture::Riscv64 => "riscv64gc-unknown-none-elf",
    }
}

/// The C compiler; none on x86_64, where the developer's own serves.
pub fn c_compiler(architecture: Architecture) -> Option<Compiler> {
    match architecture {
        Architecture::X86_64 => None,
        Architecture::Aarch64 => Some(Compiler {
            program: "aarch64-linux-gnu-gcc",
            archiver: "aarch64-linux-gnu-ar",
            package: "gcc-aarch64-linux-gnu",
        }),
        Architecture::Riscv64 => Some(Compiler {
            program: "riscv64-unknown-elf-gcc",
            archiver: "riscv64-unknown-elf-ar",
            package: "gcc-riscv64-unknown-elf",
        }),
    }
}

/// ring includes headers of a C library unless told that there is none.
fn c_flags(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "-fcf-protection=none",
        Architecture::Aarch64 => "-ffreestanding -DRING_CORE_NOSTDLIBINC=1 -mno-outline-atomics",
        Architecture::Riscv64 => {
            "-ffreestanding -DRING_CORE_NOSTDLIBINC=1 -march=rv64gc -mabi=lp64d -mcmodel=medany"
        }
    }
}

impl Kernel {
    /// The value of `selkie_board` in the sources.
    fn name(&self) -> &'static str {
        match self {
            Self::Pc99 => "pc99",
            Self::Microkit { .. } => "microkit",
        }
    }
}

/// Folders that the compilers' arguments name.
pub(super) struct Folders<'a> {
    /// The repository.
    pub root: &'a Path,
    /// The linker script and the empty libraries.
    pub support: &'a Path,
    /// Cargo's own.
    pub cargo_home: &'a Path,
    /// The compiler's own.
    pub toolchain: &'a Toolchain,
}

/// The compiler, as far as programs could tell.
pub(super) struct Toolchain {
    /// Where the sources of `core` and `alloc` are, if they are installed (rustup's component `rust-src`).
    pub sources: PathBuf,
    /// What programs name that folder, which is what they do if it is not there.
    pub name: String,
}

impl Platform {
    /// What Cargo and build scripts find in the environment.
    pub(super) fn environment(&self, folders: &Folders<'_>) -> Vec<(String, OsString)> {
        let suffix = triple(self.architecture).replace('-', "_");
        let mut variables = vec![
            (
                "CARGO_ENCODED_RUSTFLAGS".to_owned(),
                self.rust_flags(folders),
            ),
            (format!("CFLAGS_{suffix}"), self.c_flags(folders)),
            // To the crate that runs the compiler: the flags are quoted, since a folder may have a space in its name.
            ("CC_SHELL_ESCAPED_FLAGS".to_owned(), "1".into()),
        ];
        if let Some(compiler) = c_compiler(self.architecture) {
            for (name, program) in [("CC", compiler.program), ("AR", compiler.archiver)] {
                let name = format!("{name}_{suffix}");
                // Whoever names a compiler for this target means it.
                if env::var_os(&name).is_none() {
                    variables.push((name, program.into()));
                }
            }
        }
        if let Kernel::Microkit { include } = &self.kernel {
            variables.push(("SELKIE_MICROKIT_INCLUDE".to_owned(), include.into()));
        }
        variables
    }

    /// Arguments to rustc for the programs, separated as `CARGO_ENCODED_RUSTFLAGS` wants it. Build scripts and macros do
    /// not get them, since a target is named.
    fn rust_flags(&self, folders: &Folders<'_>) -> OsString {
        let features = self.features.iter().map(|feature| format!(",+{feature}"));
        let unwiped = (self.variant == Variant::Unwiped).then(|| "--cfg=selkie_unwiped".into());
        let flags = [
            "-Clinker=rust-lld".into(),
            "-Clinker-flavor=ld.lld".into(),
            "-Cpanic=abort".into(),
            "-Crelocation-model=static".into(),
            format!(
                "-Ctarget-feature=+crt-static{}",
                features.collect::<String>()
            )
            .into(),
            "-Clink-arg=-static".into(),
            "-Clink-arg=-no-pie".into(),
            "-Clink-arg=--build-id=none".into(),
            with_path("-Clink-arg=-T", &folders.support.join("pd.ld"), ""),
            with_path("-L", folders.support, ""),
            "--cfg=selkie_freestanding".into(),
            format!("--cfg=selkie_board=\"{}\"", self.kernel.name()).into(),
            format!("--cfg=selkie_kernel=\"{}\"", self.variant.name()).into(),
            with_path("--remap-path-prefix=", folders.cargo_home, "=/cargo"),
            with_path(
                "--remap-path-prefix=",
                &folders.toolchain.sources,
                &format!("={}", folders.toolchain.name),
            ),
            with_path("--remap-path-prefix=", folders.root, "=/selkie"),
        ];
        let mut encoded = OsString::new();
        for (index, flag) in flags.iter().chain(&unwiped).enumerate() {
            if index > 0 {
                encoded.push("\u{1f}");
            }
            encoded.push(flag);
        }
        encoded
    }

    /// Arguments to the C compiler. A stack protector reads thread-local storage, and fortified functions are the
    /// operating system's. ring's C code does the arithmetic of curves: it is compiled for speed, whatever Cargo's
    /// profile says of ring.
    fn c_flags(&self, folders: &Folders<'_>) -> OsString {
        let mut flags = OsString::from(
            "-O2 -fno-stack-protector -U_FORTIFY_SOURCE -fno-asynchronous-unwind-tables ",
        );
        flags.push(c_flags(self.architecture));
        for (path, name) in [(folders.cargo_home, "/cargo"), (folders.root, "/selkie")] {
            flags.push(with_path(" '-ffile-prefix-map=", &quoted(path), "="));
            flags.push(name);
            flags.push("'");
        }
        flags
    }
}

/// A path as it stands between single quotes in a shell.
fn quoted(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let parts: Vec<&[u8]> = bytes.split(|&byte| byte == b'\'').collect();
    OsString::from_vec(parts.join(&br"'\''"[..])).into()
}

fn with_path(before: &str, path: &Path, after: &str) -> OsString {
    let mut flag = OsString::from(before);
    flag.push(path);
    flag.push(after);
    flag
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDERS: fn() -> Folders<'static> = || Folders {
        root: Path::new("/home/x/selkie"),
        support: Path::new("/t/support"),
        cargo_home: Path::new("/home/x/.cargo"),
        toolchain: Box::leak(Box::new(Toolchain {
            sources: "/home/x/rust/src".into(),
            name: "/rustc/0".into(),
        })),
    };

    fn environment(platform: &Platform) -> Vec<(String, String)> {
        let variables = platform.environment(&FOLDERS()).into_iter();
        variables
            .map(|(name, value)| (name, value.into_string().unwrap()))
            .collect()
    }

    fn value(variables: &[(String, String)], name: &str) -> String {
        let found = variables.iter().find(|variable| variable.0 == name);
        found.unwrap_or_else(|| panic!("{name}")).1.clone()
    }

    #[test]
    fn paths_of_the_machine_are_mapped() {
        let platform = Platform {
            architecture: Architecture::X86_64,
            kernel: Kernel::Pc99,
            variant: Variant::Release,
            features: Vec::new(),
        };
        let flags = value(&environment(&platform), "CARGO_ENCODED_RUSTFLAGS");
        let flags: Vec<&str> = flags.split('\u{1f}').collect();
        assert!(flags.contains(&"--remap-path-prefix=/home/x/selkie=/selkie"));
        assert!(flags.contains(&"--remap-path-prefix=/home/x/rust/src=/rustc/0"));
        assert!(flags.contains(&"--cfg=selkie_kernel=\"release\""));
        assert!(flags.contains(&"-Ctarget-feature=+crt-static"));
        // The last prefix that matches wins: a Cargo home inside the repository would be the repository's.
        assert!(flags.last().unwrap().ends_with("=/selkie"));
    }

    #[test]
    fn folders_may_have_any_name() {
        let platform = Platform {
            architecture: Architecture::X86_64,
            kernel: Kernel::Pc99,
            variant: Variant::Release,
            features: Vec::new(),
        };
        let folders = Folders {
            root: Path::new("/home/x/it's mine"),
            ..FOLDERS()
        };
        let flags = platform.c_flags(&folders).into_string().unwrap();
        assert!(flags.contains(r" '-ffile-prefix-map=/home/x/it'\''s mine=/selkie'"));
    }

    #[test]
    fn a_board_of_the_sdk_names_its_headers_compiler_and_instructions() {
        let platform = Platform {
            architecture: Architecture::Aarch64,
            kernel: Kernel::Microkit {
                include: "/sdk/include".into(),
            },
            variant: Variant::Debug,
            features: ["aes", "sha2"].map(str::to_owned).into(),
        };
        let variables = environment(&platform);
        let flags = value(&variables, "CARGO_ENCODED_RUSTFLAGS");
        assert!(flags.contains("-Ctarget-feature=+crt-static,+aes,+sha2\u{1f}"));
        assert!(flags.contains("--cfg=selkie_board=\"microkit\""));
        assert_eq!(value(&variables, "SELKIE_MICROKIT_INCLUDE"), "/sdk/include");
        assert!(value(&variables, "CC_aarch64_unknown_linux_gnu").ends_with("gcc"));
        assert!(value(&variables, "CFLAGS_aarch64_unknown_linux_gnu").contains("/selkie"));
    }
}
