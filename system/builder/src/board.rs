//! What a board has: memory, devices and where they are (`system/boards/NAME.toml`).

mod read;

use std::path::Path;
use std::sync::Arc;

use microkit_sdf::{PciAddress, Polarity, Target, Trigger};
use wiring::Value;

use crate::description::Written;
use crate::diagnostics::{Problem, Source, suggest};

/// How a device's registers can be reached.
pub(crate) const BUSES: [&str; 3] = ["pci", "mmio", "ports"];

/// A board.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// Its name, which is that of its file.
    pub name: String,
    /// Which kernel runs on it.
    pub kernel: KernelKind,
    /// Its processor, as far as Microkit descriptions depend on it.
    pub target: Target,
    /// Memory in bytes.
    pub memory: u64,
    /// Part of the memory that protection domains cannot have: firmware, kernel, initialiser and boot image.
    pub reserved: u64,
    /// Physical address of the memory for devices' transfers.
    pub dma_address: u64,
    /// Size of that memory in bytes.
    pub dma_size: u64,
    /// Whether an IOMMU confines the devices on its PCI bus.
    pub iommu: bool,
    /// Instructions that its processor has beyond those of its architecture, by rustc's names, such as `aes`.
    pub features: Vec<String>,
    /// Kinds of device that other boards have and this one does without.
    pub without: Vec<String>,
    /// The devices.
    pub devices: Vec<Device>,
    /// The PDs that the builder adds to a description that needs but lacks them.
    pub(crate) infrastructure: Infrastructure,
}

/// The PDs of a board file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Infrastructure {
    /// The board file.
    pub source: Option<Arc<Source>>,
    /// The PDs, in the file's order.
    pub protections: Vec<Written>,
}

/// Which kernel runs on a board, and who puts its image together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelKind {
    /// seL4 5.0.0 for PCs, built from source; the image is Selkie's own.
    Pc99,
    /// The kernel of the Microkit SDK, and the SDK's own tool.
    Microkit,
}

/// A device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its name on the board, such as `net0`.
    pub name: String,
    /// What it is, such as `virtio-net`.
    pub kind: String,
    /// How its registers are reached: `pci`, `mmio` or `ports`.
    pub bus: String,
    /// Its PCI address.
    pub pci: Option<PciAddress>,
    /// Register memory.
    pub registers: Vec<Registers>,
    /// Interrupts.
    pub interrupts: Vec<Interrupt>,
    /// I/O ports: the first and their number.
    pub ports: Vec<(u16, u16)>,
    /// Whatever else its driver wants to know.
    pub properties: Vec<(String, Value)>,
}

/// Register memory of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// The PCI base address register that decides where it lies.
    pub bar: Option<u8>,
    /// Physical address.
    pub address: u64,
    /// Size in bytes.
    pub size: u64,
}

/// Where an interrupt of a device comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// A pin of an I/O APIC (x86_64).
    Pin {
        /// Which I/O APIC.
        ioapic: u32,
        /// Which pin.
        pin: u32,
        /// When it fires.
        trigger: Trigger,
        /// Which level is active.
        polarity: Polarity,
    },
    /// A number of the interrupt controller (aarch64: the GIC's, SPI n is n + 32; riscv64: the PLIC's).
    Number {
        /// The number.
        number: u32,
        /// When it fires.
        trigger: Trigger,
    },
}

impl Device {
    /// The PCI address as the wiring has it: bus << 8 | device << 3 | function.
    pub fn pci_number(&self) -> Option<u16> {
        self.pci.map(|pci| {
            u16::from(pci.bus) << 8 | u16::from(pci.device) << 3 | u16::from(pci.function)
        })
    }
}

impl Board {
    /// Reads `system/boards/NAME.toml` below `root`.
    ///
    /// # Errors
    /// What is wrong with the file; that there is none.
    pub fn load(root: &Path, name: &str) -> Result<Self, Vec<Problem>> {
        let folder = root.join("system/boards");
        let path = folder.join(format!("{name}.toml"));
        if !path.is_file() {
            let names = Self::names(root);
            let help = suggest(name, "boards", names.iter().map(String::as_str));
            return Err(vec![
                Problem::nowhere(format!("there is no board `{name}`")).help(help),
            ]);
        }
        let source = Source::read(&path, root).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let board = read::read(&source, name, &mut problems).map_err(|problem| vec![problem])?;
        match board {
            Some(board) if problems.is_empty() => Ok(board),
            _ => Err(problems),
        }
    }

    /// The boards that there are files for below `root`, by name.
    pub fn names(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root.join("system/boards"));
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                name.strip_suffix(".toml").map(str::to_string)
            })
            .collect();
        names.sort();
        names
    }

    /// The device of this name.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }
}
