//! What one run of a machine needs, and QEMU's arguments for it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::FdFlags;
use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};

use crate::{Boot, Error, Forward, Guest, Machine, MemoryFile, Network, SerialLog, qmp};

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's emulator: works everywhere and alike.
    #[default]
    Tcg,
    /// The host's processor. Only on request: a present /dev/kvm may still not work, for instance nested.
    Kvm,
}

/// One run of a machine.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The machine.
    pub machine: &'static Machine,
    /// What it starts from.
    pub boot: Boot,
    /// Folder for the run's files: control socket and QEMU's own messages. It is made if absent.
    pub folder: PathBuf,
    /// Memory in MiB.
    pub memory: u32,
    /// The file that is the memory, if this process is to read it; it has this size.
    pub memory_file: Option<MemoryFile>,
    /// The network.
    pub network: Network,
    /// File that gets the guest's serial output.
    pub serial: PathBuf,
    /// File that gets every frame of the network device, in pcap format.
    pub pcap: Option<PathBuf>,
    /// Port of 127.0.0.1 for gdb; the guest then waits for gdb to let it run.
    pub gdb: Option<u16>,
    /// What executes the guest.
    pub accelerator: Accelerator,
    /// Whether instructions are counted ([`Qmp::instructions`](crate::Qmp::instructions)): then a nanosecond of the
    /// guest's time is an instruction of its processor, or passes while it waits. Only with the emulator.
    pub counting: bool,
    /// Whether QEMU outlives the process that starts it.
    pub detached: bool,
    /// A program and arguments that start QEMU, such as one that enters a network namespace first.
    pub wrapper: Vec<OsString>,
}

impl Launch {
    /// A run with the machine's own memory, no network, and its files in `folder`.
    pub fn new(machine: &'static Machine, boot: Boot, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self {
            machine,
            boot,
            memory: machine.memory,
            memory_file: None,
            network: Network::None,
            serial: folder.join("serial.log"),
            pcap: None,
            gdb: None,
            accelerator: Accelerator::default(),
            counting: false,
            detached: false,
            wrapper: Vec::new(),
            folder,
        }
    }

    /// Starts QEMU.
    ///
    /// # Errors
    /// When QEMU is not installed, a file cannot be made, or QEMU ends at once.
    pub fn start(self) -> Result<Guest, Error> {
        fs::create_dir_all(&self.folder)
            .map_err(Error::io(format!("cannot make {}", self.folder.display())))?;
        // QEMU would keep an old log if it failed before opening it.
        fs::write(&self.serial, b"")
            .map_err(Error::io(format!("cannot write {}", self.serial.display())))?;
        let listener = qmp::listen(&self.folder).map_err(Error::io(format!(
            "cannot make a control socket in {}",
            self.folder.display()
        )))?;
        let serial = qmp::listen_for_serial(&self.folder).map_err(Error::io(format!(
            "cannot make a socket for the second serial port in {}",
            self.folder.display()
        )))?;
        let module = self.module()?;
        let inherited = Inherited {
            qmp: listener.as_raw_fd(),
            serial: serial.as_raw_fd(),
            memory: self.memory_file.as_ref().map(MemoryFile::descriptor),
            module: module.as_ref().map(AsRawFd::as_raw_fd),
        };
        let messages = self.folder.join("qemu.log");
        let said = fs::File::create(&messages)
            .map_err(Error::io(format!("cannot write {}", messages.display())))?;
        let mut command = self.command(inherited)?;
        // Held until QEMU has started, which inherits it.
        let _module = module;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        attach(&mut command, inherited, self.detached);
        Guest::spawn(
            command,
            self.machine,
            self.folder.clone(),
            messages,
            SerialLog::new(&self.serial),
            self.detached,
            listener,
        )
    }

    /// Opens the module of a multiboot kernel. QEMU splits the list of modules at commas and each
    /// module at its first space, so that a path with a space cannot be written there.
    fn module(&self) -> Result<Option<fs::File>, Error> {
        let Boot::Multiboot { module, .. } = &self.boot else {
            return Ok(None);
        };
        let file = fs::File::open(module)
            .map_err(Error::io(format!("cannot read {}", module.display())))?;
        Ok(Some(file))
    }

    /// QEMU's arguments; it inherits these files.
    fn arguments(&self, inherited: Inherited) -> Vec<OsString> {
        let mut list = Arguments::default();
        match inherited.memory {
            None => list.pair("-machine", self.machine.machine),
            Some(memory) => {
                let machine = self.machine.machine;
                list.pair("-machine", format!("{machine},memory-backend=memory0"));
                let size = self.memory;
                list.pair(
                    "-object",
                    format!("memory-backend-file,id=memory0,size={size}M,mem-path=/proc/self/fd/{memory},share=on"),
                );
            }
        }
        list.extend(&["-nodefaults", "-no-user-config", "-display", "none"]);
        match self.accelerator {
            Accelerator::Tcg => list.extend(&["-accel", "tcg", "-cpu", self.machine.cpu]),
            Accelerator::Kvm => list.extend(&["-accel", "kvm", "-cpu", "host"]),
        }
        if self.counting {
            list.pair("-icount", "shift=0");
        }
        list.pair("-m", self.memory.to_string());
        list.pair(
            "-chardev",
            with_path("file,id=serial0,path=", &self.serial, ""),
        );
        list.extend(self.machine.arguments);
        list.pair(
            "-chardev",
            format!("socket,id=qmp0,fd={},server=on,wait=off", inherited.qmp),
        );
        list.pair("-mon", "chardev=qmp0,mode=control");
        list.pair(
            "-chardev",
            format!(
                "socket,id=serial1,fd={},server=on,wait=off",
                inherited.serial
            ),
        );
        for device in self.machine.second_serial {
            list.pair("-device", *device);
        }
        self.boot_arguments(&mut list, inherited);
        self.network_arguments(&mut list);
        if let Some(port) = self.gdb {
            list.pair("-gdb", format!("tcp:127.0.0.1:{port}"));
            list.extend(&["-S"]);
        }
        list.0
    }

    fn boot_arguments(&self, list: &mut Arguments, inherited: Inherited) {
        match &self.boot {
            Boot::Multiboot {
                kernel,
                command_line,
                ..
            } => {
                list.pair("-kernel", plain(kernel));
                if let Some(module) = inherited.module {
                    list.pair("-initrd", format!("/proc/self/fd/{module}"));
                }
                list.pair("-append", command_line.as_str());
            }
            Boot::Kernel(file) => list.pair("-kernel", plain(file)),
            Boot::Loader { file, address } => list.pair(
                "-device",
                with_path(
                    "loader,file=",
                    file,
                    &format!(",addr={address:#x},cpu-num=0"),
                ),
            ),
        }
    }

    fn network_arguments(&self, list: &mut Arguments) {
        let backend = match &self.network {
            Network::None => return,
            Network::User { forwards } => forwards.iter().fold(
                "user,id=net0".to_string(),
                |backend, Forward { host, guest }| {
                    format!("{backend},hostfwd=tcp:127.0.0.1:{host}-:{guest}")
                },
            ),
            Network::Tap { interface } => {
                format!("tap,id=net0,ifname={interface},script=no,downscript=no")
            }
        };
        list.pair("-netdev", backend);
        list.pair(
            "-device",
            format!("{},netdev=net0", self.machine.network_device),
        );
        if let Some(file) = &self.pcap {
            list.pair(
                "-object",
                with_path("filter-dump,id=dump0,netdev=net0,file=", file, ""),
            );
        }
    }

    fn command(&self, inherited: Inherited) -> Result<Command, Error> {
        let program = find(self.machine.program).ok_or(Error::NoQemu {
            program: self.machine.program,
            package: self.machine.package,
        })?;
        let mut command = match self.wrapper.split_first() {
            None => Command::new(program),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
        };
        command.args(self.arguments(inherited));
        Ok(command)
    }
}

/// Files that QEMU inherits.
#[derive(Clone, Copy, Debug)]
struct Inherited {
    /// The listening control socket.
    qmp: RawFd,
    /// The listening socket for the second serial port.
    serial: RawFd,
    /// The memory, where this process reads it.
    memory: Option<RawFd>,
    /// The module of a multiboot kernel.
    module: Option<RawFd>,
}

/// Takes QEMU out of the terminal's reach (the owner ends it), hands it the files, and ties
/// its life to the thread that starts it unless it is detached.
fn attach(command: &mut Command, inherited: Inherited, detached: bool) {
    let owner = rustix::process::getpid();
    let child = move || -> io::Result<()> {
        let Inherited {
            qmp,
            serial,
            memory,
            module,
        } = inherited;
        for file in [Some(qmp), Some(serial), memory, module]
            .into_iter()
            .flatten()
        {
            // SAFETY: the descriptor is open: the parent holds the files until the child has started.
            let file = unsafe { rustix::fd::BorrowedFd::borrow_raw(file) };
            rustix::io::fcntl_setfd(file, FdFlags::empty())?;
        }
        setsid()?;
        if !detached {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The owner may have ended before the line above.
            if getppid() != Some(owner) {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes at most eight system calls; it allocates nothing and takes no
    // lock.
    unsafe { command.pre_exec(child) };
}

/// The program's file on PATH.
fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// QEMU's arguments, as they grow.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn pair(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }

    fn extend(&mut self, values: &[&str]) {
        self.0.extend(values.iter().map(OsString::from));
    }
}

/// Returns a path as a separate argument. A relative path that begins with `-` would be an option.
fn plain(path: &Path) -> OsString {
    if path.as_os_str().as_bytes().starts_with(b"-") {
        return Path::new(".").join(path).into_os_string();
    }
    path.into()
}

/// Returns a path between two parts of a list of options, with each comma doubled.
fn with_path(before: &str, path: &Path, after: &str) -> OsString {
    let mut value = before.as_bytes().to_vec();
    for &byte in OsStr::as_bytes(path.as_os_str()) {
        value.push(byte);
        if byte == b',' {
            value.push(b',');
        }
    }
    value.extend_from_slice(after.as_bytes());
    OsString::from_vec(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PC99;

    fn launch() -> Launch {
        Launch::new(
            &PC99,
            Boot::Multiboot {
                kernel: "k.elf".into(),
                module: "a,b.elf".into(),
                command_line: "disable_iommu".into(),
            },
            "run",
        )
    }

    fn inherited(qmp: RawFd) -> Inherited {
        Inherited {
            qmp,
            serial: 9,
            memory: None,
            module: Some(11),
        }
    }

    fn value_of<'a>(arguments: &'a [OsString], name: &str) -> Vec<&'a str> {
        arguments
            .windows(2)
            .filter(|pair| pair[0] == name)
            .map(|pair| pair[1].to_str().expect("it is UTF-8"))
            .collect()
    }

    #[test]
    fn any_path_is_passed() {
        let odd = "/a b, \"c\" ä'/";
        let launch = Launch {
            boot: Boot::Kernel(format!("{odd}kernel").into()),
            serial: format!("{odd}serial.log").into(),
            network: Network::User {
                forwards: Vec::new(),
            },
            pcap: Some(PathBuf::from(OsString::from_vec(b"/\xff,.pcap".to_vec()))),
            ..launch()
        };
        let arguments = launch.arguments(inherited(7));
        let kernel = format!("{odd}kernel");
        let serial = format!("file,id=serial0,path={}serial.log", odd.replace(',', ",,"));
        let capture = b"filter-dump,id=dump0,netdev=net0,file=/\xff,,.pcap".to_vec();
        for expected in [kernel.into(), serial.into(), OsString::from_vec(capture)] {
            assert!(arguments.contains(&expected), "{arguments:?}");
        }
        assert_eq!(plain(Path::new("-k")), "./-k");
    }

    #[test]
    fn a_missing_module_is_named_before_qemu_starts() {
        let folder = tempfile::tempdir().unwrap();
        let mut launch = launch();
        launch.folder = folder.path().to_path_buf();
        launch.serial = folder.path().join("serial.log");
        let error = launch.start().unwrap_err().to_string();
        assert!(error.starts_with("cannot read a,b.elf"), "{error}");
    }

    #[test]
    fn the_memory_may_be_a_file_of_this_process() {
        let inherited = Inherited {
            memory: Some(8),
            ..inherited(7)
        };
        let arguments = launch().arguments(inherited);
        let machine = value_of(&arguments, "-machine");
        assert!(
            machine[0].ends_with(",memory-backend=memory0"),
            "{machine:?}"
        );
        let file = "memory-backend-file,id=memory0,size=64M,mem-path=/proc/self/fd/8,share=on";
        assert!(
            value_of(&arguments, "-object").contains(&file),
            "{arguments:?}"
        );
    }

    #[test]
    fn the_defaults_are_a_quiet_machine_without_network() {
        let arguments = launch().arguments(inherited(7));
        assert_eq!(value_of(&arguments, "-m"), ["64"]);
        assert_eq!(value_of(&arguments, "-initrd"), ["/proc/self/fd/11"]);
        assert_eq!(value_of(&arguments, "-accel"), ["tcg"]);
        assert!(value_of(&arguments, "-netdev").is_empty());
        assert!(value_of(&arguments, "-icount").is_empty());
        assert!(value_of(&arguments, "-gdb").is_empty());
        assert!(arguments.contains(&"-nodefaults".into()));
        let sockets = value_of(&arguments, "-chardev");
        for socket in ["qmp0,fd=7", "serial1,fd=9"] {
            let expected = format!("socket,id={socket},server=on,wait=off");
            assert!(sockets.contains(&expected.as_str()), "{sockets:?}");
        }
    }

    #[test]
    fn ports_are_forwarded_from_this_machine_alone() {
        let arguments = Launch {
            network: Network::User {
                forwards: vec![
                    Forward {
                        host: 8443,
                        guest: 443,
                    },
                    Forward { host: 1, guest: 2 },
                ],
            },
            pcap: Some("x,y.pcap".into()),
            gdb: Some(1234),
            counting: true,
            ..launch()
        }
        .arguments(inherited(3));
        assert_eq!(
            value_of(&arguments, "-netdev"),
            ["user,id=net0,hostfwd=tcp:127.0.0.1:8443-:443,hostfwd=tcp:127.0.0.1:1-:2"]
        );
        assert!(
            value_of(&arguments, "-object")
                .contains(&"filter-dump,id=dump0,netdev=net0,file=x,,y.pcap")
        );
        assert_eq!(value_of(&arguments, "-gdb"), ["tcp:127.0.0.1:1234"]);
        assert_eq!(value_of(&arguments, "-icount"), ["shift=0"]);
        assert!(arguments.contains(&"-S".into()));
    }

    #[test]
    fn other_boot_forms_and_kvm() {
        let mut launch = Launch {
            boot: Boot::Loader {
                file: "loader.img".into(),
                address: 0x7000_0000,
            },
            accelerator: Accelerator::Kvm,
            ..launch()
        };
        let arguments = launch.arguments(inherited(3));
        assert!(
            value_of(&arguments, "-device")
                .contains(&"loader,file=loader.img,addr=0x70000000,cpu-num=0")
        );
        assert_eq!(value_of(&arguments, "-cpu"), ["host"]);
        launch.boot = Boot::Kernel("loader.img".into());
        assert_eq!(
            value_of(&launch.arguments(inherited(3)), "-kernel"),
            ["loader.img"]
        );
    }
}
