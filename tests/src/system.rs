//! Booted systems.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use selkie::cli::{Built, Endpoint, Protocol, Request, make, root};
use selkie::settings::Configuration;
use selkie_qemu::{Forward, Guest, Launch, Machine, Network, SerialLog, free_port};

use crate::{Failed, Outcome, ground};

/// Within this time a system must serve. It takes about a second on an idle machine.
const BOOT: Duration = Duration::from_secs(90);

/// Lines of the serial log that a failure shows.
const TAIL: usize = 40;

thread_local! {
    /// The serial logs of the systems that this thread's test has asked for.
    static LOGS: RefCell<Vec<SerialLog>> = const { RefCell::new(Vec::new()) };
}

/// Runs a test; its error gets the ends of the serial logs of all systems that it has asked for.
///
/// # Errors
/// The test's.
pub fn with_logs(test: impl FnOnce() -> Outcome) -> Outcome {
    LOGS.take();
    test().map_err(|error| {
        let message = error.message().unwrap_or("no message");
        let logs = LOGS.take().into_iter().map(|log| end_of(&log));
        // Some tests show the log that matters by themselves.
        let logs: String = logs.filter(|end| !message.contains(end)).collect();
        format!("{message}{logs}").into()
    })
}

fn remember(log: &SerialLog) {
    LOGS.with_borrow_mut(|logs| {
        if logs.iter().all(|other| other.path() != log.path()) {
            logs.push(log.clone());
        }
    });
}

fn end_of(log: &SerialLog) -> String {
    let path = log.path().display();
    format!("\n--- the end of {path} ---\n{}", log.tail(TAIL))
}

/// A system that runs in QEMU and serves.
#[derive(Debug)]
pub struct System {
    /// The machine.
    pub guest: Guest,
    /// Its services, at ports of this machine that were free.
    pub endpoints: Vec<Endpoint>,
    /// What was built.
    pub built: Built,
}

/// How a system is booted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A TAP interface instead of forwarded ports.
    pub tap: Option<Tap>,
    /// Capture of the network device's frames.
    pub pcap: Option<PathBuf>,
    /// A debug kernel and programs for it, whatever the configuration.
    pub debug: bool,
    /// Whether QEMU counts instructions.
    pub counting: bool,
}

/// A TAP interface, and the words that start a program where it is.
#[derive(Clone, Debug)]
pub struct Tap {
    /// The interface's name.
    pub interface: String,
    /// From [`crate::namespace::Namespace::enter`].
    pub enter: Vec<std::ffi::OsString>,
}

impl System {
    /// Builds a system and boots it; returns when each of its services has answered.
    ///
    /// # Errors
    /// When it does not build, boot or serve, with the end of the serial log.
    pub fn boot(system: &str) -> Result<Self, Failed> {
        Self::boot_with(system, &Options::default())
    }

    /// As [`System::boot`]. With a TAP interface nothing is waited for, since only the test knows the guest's
    /// address.
    ///
    /// # Errors
    /// As [`System::boot`].
    pub fn boot_with(system: &str, options: &Options) -> Result<Self, Failed> {
        Self::boot_built(&built_for(system, options.debug, None)?, options)
    }

    /// Boots what was built; otherwise as [`System::boot_with`].
    ///
    /// # Errors
    /// As [`System::boot`].
    pub fn boot_built(built: &Built, options: &Options) -> Result<Self, Failed> {
        let mut last = Failed::without_message();
        // Another process may take a port between our look and QEMU's start.
        for _ in 0..3 {
            match Self::start(built, options) {
                Ok(system) => {
                    if options.tap.is_none() {
                        system.wait_until_serving()?;
                    }
                    return Ok(system);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn start(built: &Built, options: &Options) -> Result<Self, Failed> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let run = format!("{}-{}-{number}", built.board, built.name);
        let folder = root().join("target/selkie/tests").join(run);
        let mut endpoints = built.endpoints.clone();
        for endpoint in &mut endpoints {
            endpoint.host = free_port()?;
        }
        let plain = Launch {
            memory: built.memory,
            ..Launch::new(machine(built)?, built.boot.clone(), folder)
        };
        let launch = match &options.tap {
            None => Launch {
                network: Network::User {
                    forwards: endpoints
                        .iter()
                        .map(|endpoint| Forward {
                            host: endpoint.host,
                            guest: endpoint.guest,
                        })
                        .collect(),
                },
                ..plain
            },
            Some(tap) => Launch {
                network: Network::Tap {
                    interface: tap.interface.clone(),
                },
                wrapper: tap.enter.clone(),
                ..plain
            },
        };
        let launch = Launch {
            pcap: options.pcap.clone(),
            counting: options.counting,
            ..launch
        };
        let guest = launch.start()?;
        remember(guest.serial());
        Ok(Self {
            guest,
            endpoints,
            built: built.clone(),
        })
    }

    fn wait_until_serving(&self) -> Result<(), Failed> {
        for endpoint in &self.endpoints {
            let alive = || match self.guest.ended() {
                None => Ok(()),
                Some(_) => Err(std::io::Error::other(self.guest.ended_error())),
            };
            endpoint
                .wait_in(&self.guest, BOOT, alive)
                .map_err(|error| self.failure(&format!("{endpoint}: {error}")))?;
        }
        Ok(())
    }

    /// The service that speaks this protocol.
    ///
    /// # Errors
    /// When the system has none.
    pub fn endpoint(&self, protocol: Protocol) -> Result<&Endpoint, Failed> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.protocol == protocol)
            .ok_or_else(|| format!("{} has no service of {protocol:?}", self.built.name).into())
    }

    /// An error with the end of the serial log.
    pub fn failure(&self, what: &str) -> Failed {
        format!("{what}{}", end_of(self.guest.serial())).into()
    }

    /// Waits for a line on the serial port that holds `what`, written after this offset in bytes.
    ///
    /// # Errors
    /// When it does not come within the time.
    pub fn wait_for_line(
        &self,
        offset: u64,
        what: &str,
        timeout: Duration,
    ) -> Result<String, Failed> {
        self.guest
            .serial()
            .wait_for_from(offset, what, timeout, &self.guest)
            .map_err(|error| self.failure(&error.to_string()))
    }
}

/// The machine of a system's board.
///
/// # Errors
/// When QEMU has none.
pub fn machine(built: &Built) -> Result<&'static Machine, Failed> {
    let none = || format!("QEMU has no machine {}", built.board);
    Ok(built.machine.ok_or_else(none)?)
}

/// Builds each system once; tests that need the same one wait for each other.
///
/// # Errors
/// When it does not build.
pub fn built(system: &str) -> Result<Built, Failed> {
    built_for(system, false, None)
}

/// As [`built`], for a machine with the given memory in MiB.
///
/// # Errors
/// When it does not build.
pub fn built_with_memory(system: &str, memory: Option<u32>) -> Result<Built, Failed> {
    built_for(system, false, memory)
}

fn built_for(system: &str, debug: bool, memory: Option<u32>) -> Result<Built, Failed> {
    type Key = (String, bool, Option<u32>);
    static BUILT: Mutex<BTreeMap<Key, Result<Built, String>>> = Mutex::new(BTreeMap::new());
    let mut all = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (system.to_string(), debug, memory);
    if let Some(built) = all.get(&key) {
        return Ok(built.clone()?);
    }
    let request = Request {
        system: description(system),
        board: ground().board.name.clone(),
        configuration: match debug {
            true => Configuration::Debug,
            false => ground().configuration,
        },
        memory,
    };
    let built = make(&root(), &request, &|_| {}).map_err(|error| format!("{error:#}"));
    all.insert(key, built.clone());
    Ok(built?)
}

/// A system of `system/`, or one of the tests' own.
fn description(system: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systems")
        .join(format!("{system}.toml"));
    if own.is_file() {
        own
    } else {
        PathBuf::from(system)
    }
}

/// Systems that several tests share: each is booted by the first test that needs it.
#[derive(Debug, Default)]
pub struct Shared(Mutex<BTreeMap<String, Result<Arc<System>, String>>>);

impl Shared {
    /// Nothing booted yet.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The running system of this name.
    ///
    /// # Errors
    /// As [`System::boot`]; a system that failed once is not tried again.
    pub fn system(&self, name: &str) -> Result<Arc<System>, Failed> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(name.to_string()).or_insert_with(|| {
            System::boot(name)
                .map(Arc::new)
                .map_err(|error| error.message().unwrap_or("no message").to_string())
        });
        let system = entry.clone()?;
        remember(system.guest.serial());
        Ok(system)
    }

    /// Ends all systems.
    pub fn end(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
