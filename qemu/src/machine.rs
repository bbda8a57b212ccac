//! What each machine is made of, as data.

use std::path::PathBuf;

/// A kind of machine that QEMU emulates.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The board's name, as in `system/boards/`.
    pub name: &'static str,
    /// QEMU's program for this architecture.
    pub program: &'static str,
    /// The Debian package that holds the program.
    pub package: &'static str,
    /// Value of `-machine`.
    pub machine: &'static str,
    /// Value of `-cpu` under emulation.
    pub cpu: &'static str,
    /// Memory in MiB when nothing else is asked for.
    pub memory: u32,
    /// Whether its kernel is built for that amount of memory: it does not start with less, and does
    /// not use more.
    pub has_fixed_memory: bool,
    /// Physical address at which the memory begins.
    pub memory_at: u64,
    /// Arguments that every run of this machine has; they connect the serial port to the character device
    /// `serial0`.
    pub arguments: &'static [&'static str],
    /// The network device, without its `netdev=` property.
    pub network_device: &'static str,
    /// The devices that make the second serial port; the last is connected to the character device `serial1`.
    pub second_serial: &'static [&'static str],
    /// How its image is started.
    pub start: Start,
}

/// How a machine's image is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A kernel of its own starts first, with the image as its module (Multiboot).
    Module,
    /// The machine's firmware starts the image.
    Firmware,
    /// The first processor starts at this physical address, where the image is put.
    At(u64),
}

impl Machine {
    /// What the machine starts from: the image, and the kernel and its command line where they are apart from it.
    pub fn boot(&self, kernel: Option<PathBuf>, image: PathBuf, command_line: String) -> Boot {
        match (self.start, kernel) {
            (Start::Module, Some(kernel)) => Boot::Multiboot {
                kernel,
                module: image,
                command_line,
            },
            (Start::At(address), _) => Boot::Loader {
                file: image,
                address,
            },
            (Start::Firmware | Start::Module, _) => Boot::Kernel(image),
        }
    }
}

/// A PC for the `pc99` kernel.
///
/// The PCI slots are those of `system/boards/pc99.toml`: on this chipset the slots 2 and 3 have interrupt
/// lines of their own, so that each driver gets its interrupt alone, and `vectors=0` keeps the devices on
/// those lines (no MSI-X). `romfile=` leaves out the network boot ROM, which would only delay the start;
/// `-no-reboot` turns a triple fault into an end. Devices that no description uses are left out.
pub const PC99: Machine = Machine {
    name: "pc99",
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
    machine: "q35,sata=off,smbus=off,vmport=off,i8042=off",
    cpu: "max",
    memory: 64,
    has_fixed_memory: false,
    memory_at: 0,
    arguments: &[
        "-no-reboot",
        "-rtc",
        "base=utc",
        "-object",
        "rng-random,id=rng0,filename=/dev/urandom",
        "-device",
        "virtio-rng-pci,rng=rng0,disable-legacy=on,addr=03.0,vectors=0",
        "-device",
        "isa-serial,chardev=serial0,iobase=0x3f8,irq=4",
    ],
    network_device: "virtio-net-pci,disable-legacy=on,addr=02.0,vectors=0,romfile=,\
                     mac=52:54:00:12:34:56",
    second_serial: &["isa-serial,chardev=serial1,iobase=0x2f8,irq=3"],
    start: Start::Module,
};

/// The `virt` machine for AArch64, for the kernel of the Microkit SDK, which wants to start at EL2.
///
/// Each virtio device is at the first place of a page (`system/boards/qemu_virt_aarch64.toml`); `force-legacy=false`
/// makes the transports virtio 1 devices. The amount of memory is the one that the SDK's kernel is configured for.
pub const QEMU_VIRT_AARCH64: Machine = Machine {
    name: "qemu_virt_aarch64",
    program: "qemu-system-aarch64",
    package: "qemu-system-arm",
    machine: "virt,virtualization=on",
    cpu: "cortex-a53",
    memory: 2048,
    has_fixed_memory: true,
    memory_at: 0x4000_0000,
    arguments: &[
        "-no-reboot",
        "-rtc",
        "base=utc",
        "-global",
        "virtio-mmio.force-legacy=false",
        "-object",
        "rng-random,id=rng0,filename=/dev/urandom",
        "-device",
        "virtio-rng-device,rng=rng0,bus=virtio-mmio-bus.16",
        "-serial",
        "chardev:serial0",
    ],
    network_device: "virtio-net-device,bus=virtio-mmio-bus.24,mac=52:54:00:12:34:56",
    second_serial: &[
        "virtio-serial-device,max_ports=1,bus=virtio-mmio-bus.8",
        "virtconsole,chardev=serial1",
    ],
    start: Start::At(0x7000_0000),
};

/// The `virt` machine for 64-bit RISC-V, for the kernel of the Microkit SDK, which QEMU's own OpenSBI starts.
///
/// Its real-time clock, which gives the alarms too, starts at the host's time and then runs with the machine: when the
/// host's clock is set back, no alarm comes late.
pub const QEMU_VIRT_RISCV64: Machine = Machine {
    name: "qemu_virt_riscv64",
    program: "qemu-system-riscv64",
    package: "qemu-system-misc",
    machine: "virt",
    cpu: "rv64",
    memory: 2048,
    has_fixed_memory: true,
    memory_at: 0x8000_0000,
    arguments: &[
        "-no-reboot",
        "-rtc",
        "base=utc,clock=vm",
        "-global",
        "virtio-mmio.force-legacy=false",
        "-object",
        "rng-random,id=rng0,filename=/dev/urandom",
        "-device",
        "virtio-rng-device,rng=rng0,bus=virtio-mmio-bus.1",
        "-serial",
        "chardev:serial0",
    ],
    network_device: "virtio-net-device,bus=virtio-mmio-bus.0,mac=52:54:00:12:34:56",
    second_serial: &[
        "virtio-serial-device,max_ports=1,bus=virtio-mmio-bus.2",
        "virtconsole,chardev=serial1",
    ],
    start: Start::Firmware,
};

/// A PC with an IOMMU, for the kernel of the Microkit SDK.
///
/// As [`PC99`], but every device on the bus is behind the IOMMU (`iommu_platform=on`). The address width is the one
/// that the kernel supports; it remaps no interrupts.
pub const X86_64_GENERIC: Machine = Machine {
    name: "x86_64_generic",
    machine: "q35,sata=off,smbus=off,vmport=off,i8042=off",
    cpu: "qemu64,+fsgsbase,+pdpe1gb,+xsaveopt,+xsave,+rdrand",
    arguments: &[
        "-no-reboot",
        "-rtc",
        "base=utc",
        "-device",
        "intel-iommu,intremap=off,aw-bits=39",
        "-object",
        "rng-random,id=rng0,filename=/dev/urandom",
        "-device",
        "virtio-rng-pci,rng=rng0,disable-legacy=on,iommu_platform=on,addr=03.0,vectors=0",
        "-device",
        "isa-serial,chardev=serial0,iobase=0x3f8,irq=4",
    ],
    network_device: "virtio-net-pci,disable-legacy=on,iommu_platform=on,addr=02.0,vectors=0,\
                     romfile=,mac=52:54:00:12:34:56",
    ..PC99
};

/// All machines.
pub const MACHINES: &[Machine] = &[PC99, QEMU_VIRT_AARCH64, QEMU_VIRT_RISCV64, X86_64_GENERIC];

/// The machine of a board.
pub fn machine(board: &str) -> Option<&'static Machine> {
    MACHINES.iter().find(|machine| machine.name == board)
}

/// What the machine starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A multiboot kernel and one module (`-kernel`, `-initrd`, `-append`).
    Multiboot {
        /// The kernel, a 32-bit ELF file.
        kernel: PathBuf,
        /// The module: the root task.
        module: PathBuf,
        /// The kernel's command line.
        command_line: String,
    },
    /// One file that the machine's firmware starts (`-kernel`).
    Kernel(PathBuf),
    /// One file that QEMU puts at a physical address and jumps to (`-device loader`).
    Loader {
        /// The file.
        file: PathBuf,
        /// Where it is put.
        address: u64,
    },
}

/// How the machine's network device is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// There is no network device.
    None,
    /// QEMU's own user-mode network: the guest is reached at forwarded ports of 127.0.0.1 only.
    User {
        /// TCP ports.
        forwards: Vec<Forward>,
    },
    /// An existing TAP interface.
    Tap {
        /// Its name.
        interface: String,
    },
}

/// A TCP port of 127.0.0.1 that leads into the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Port on this machine.
    pub host: u16,
    /// Port at the guest's first DHCP address.
    pub guest: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_start_as_the_machine_starts_them() {
        let (kernel, image) = (PathBuf::from("sel4_32.elf"), PathBuf::from("loader.img"));
        let boot = |machine: &Machine, kernel: Option<&PathBuf>| {
            machine.boot(kernel.cloned(), image.clone(), "x".into())
        };
        let loader = Boot::Loader {
            file: image.clone(),
            address: 0x7000_0000,
        };
        assert_eq!(boot(&QEMU_VIRT_AARCH64, None), loader);
        let firmware = Boot::Kernel(image.clone());
        assert_eq!(boot(&QEMU_VIRT_RISCV64, None), firmware);
        let module = Boot::Multiboot {
            kernel: kernel.clone(),
            module: image.clone(),
            command_line: "x".into(),
        };
        assert_eq!(boot(&X86_64_GENERIC, Some(&kernel)), module);
    }

    #[test]
    fn names_are_unique_and_every_machine_has_both_serial_ports() {
        for (index, machine) in MACHINES.iter().enumerate() {
            let before = &MACHINES[..index];
            assert!(before.iter().all(|other| other.name != machine.name));
            let mut arguments = machine.arguments.iter();
            assert!(arguments.any(|argument| argument.contains("serial0")));
            let second = machine.second_serial.last();
            assert!(second.is_some_and(|device| device.contains("chardev=serial1")));
        }
    }
}
