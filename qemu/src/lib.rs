//! QEMU machines that run a built system: start, serial log, control, and a certain end.
//!
//! A [`Machine`] is data: the program, its fixed arguments and how a network device is attached. A
//! [`Launch`] adds what one run needs (image, forwarded ports, files) and starts it as a [`Guest`].
//! A guest that is dropped is ended; a guest whose owner is killed is ended by the kernel (except when it
//! was started detached).
//!
//! ```no_run
//! use selkie_qemu::{Boot, Forward, Launch, Network, PC99};
//! use std::time::Duration;
//!
//! let launch = Launch {
//!     network: Network::User {
//!         forwards: vec![Forward { host: 8443, guest: 443 }],
//!     },
//!     ..Launch::new(
//!         &PC99,
//!         Boot::Multiboot {
//!             kernel: "kernel.elf32".into(),
//!             module: "system.elf".into(),
//!             command_line: "disable_iommu".into(),
//!         },
//!         "target/run",
//!     )
//! };
//! let guest = launch.start()?;
//! guest.serial().wait_for("ready", Duration::from_secs(20), &guest)?;
//! guest.quit(Duration::from_secs(5));
//! # Ok::<(), selkie_qemu::Error>(())
//! ```

mod debugger;
mod guest;
mod launch;
mod machine;
mod memory;
mod ports;
mod process;
mod qmp;
mod serial;
mod usernet;

pub use debugger::{Function, Trap};
pub use guest::Guest;
pub use launch::{Accelerator, Launch};
pub use machine::{
    Boot, Forward, MACHINES, Machine, Network, PC99, QEMU_VIRT_AARCH64, QEMU_VIRT_RISCV64, Start,
    X86_64_GENERIC, machine,
};
pub use memory::MemoryFile;
pub use ports::{free_port, is_free};
pub use process::Process;
pub use qmp::{Qmp, QmpError, second_serial};
pub use serial::SerialLog;

use std::io;
use std::time::Duration;

/// Why a machine did not start, or did not do what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The QEMU program is not installed.
    #[error("{program} is not installed (Debian package {package})")]
    NoQemu {
        /// The program that was looked for.
        program: &'static str,
        /// The package that holds it.
        package: &'static str,
    },
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// How it failed.
        source: io::Error,
    },
    /// QEMU ended by itself.
    #[error("QEMU ended ({status}); it said:\n{said}")]
    Ended {
        /// Exit code or signal.
        status: String,
        /// The end of what QEMU wrote to its standard error.
        said: String,
    },
    /// What was waited for did not come in time.
    #[error("`{what}` did not appear on the serial port within {} s", .after.as_secs())]
    TimedOut {
        /// The text that was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// QEMU's control channel failed.
    #[error(transparent)]
    Qmp(#[from] QmpError),
}

impl Error {
    /// An [`Error::Io`] that says what was tried.
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
