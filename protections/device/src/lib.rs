//! The device of a protection domain (PD), as its wiring describes it: registers, I/O ports, interrupts and memory for
//! transfers, in the form that the drivers take.
//!
//! What the wiring lacks is a mistake of the system description, which the builder has checked: the functions here
//! panic then. What the device itself does wrong is an error value.
#![no_std]

#[cfg_attr(not(target_arch = "x86_64"), path = "no_ports.rs")]
mod ports;

use core::fmt;
use core::ptr::NonNull;

use channel::CallError;
use channel::pci::Description;
use pci::Virtio;
use registers::Mapped;
use sel4_microkit::Channel;
use virtio::{AnyTransport, DeviceType, MmioTransport, PciTransport, Region, TransportError};
use wiring::{Device, Dma};

pub use ports::{PortRange, ports};

/// What the wiring says of this PD's device.
///
/// # Panics
/// When this PD has none.
pub fn wiring() -> &'static Device {
    pd::wiring()
        .device
        .as_ref()
        .expect("this protection domain has no device")
}

/// A number among the device's properties on the board, if the board file gives one of this name and it fits.
pub fn property<N: TryFrom<i64>>(name: &str) -> Option<N> {
    let value = wiring().properties.iter().find(|(key, _)| key == name);
    match value {
        Some((_, wiring::Value::Integer(number))) => N::try_from(*number).ok(),
        _ => None,
    }
}

/// The channel of the device's interrupt.
///
/// # Panics
/// When it has none.
pub fn interrupt() -> Channel {
    let id = wiring()
        .interrupts
        .first()
        .expect("the device has no interrupt");
    Channel::new(usize::from(*id))
}

/// Lets the device's next interrupt through.
pub fn acknowledge(interrupt: Channel) {
    if let Err(error) = interrupt.irq_ack() {
        pd::error!("{error}");
    }
}

/// The device's registers. Call it once.
///
/// # Panics
/// When it has none in memory.
pub fn registers() -> Mapped {
    let registers = wiring()
        .registers
        .first()
        .expect("the device has no registers in memory");
    let base = pointer(registers.span.address);
    // SAFETY: the builder maps the device's pages for this PD alone, for ever; they are taken once.
    unsafe { Mapped::new(base, registers.span.size as usize) }
}

/// Why there is no virtio device to drive.
#[derive(Debug)]
pub enum NoDevice {
    /// The `pci` PD does not give it.
    Pci(CallError),
    /// Its registers cannot be used.
    Transport(TransportError),
}

impl fmt::Display for NoDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(error) => write!(f, "pci: {error}"),
            Self::Transport(error) => error.fmt(f),
        }
    }
}

/// The virtio device, on the bus that the board file says. Its memory for transfers is the PD's own and, for a port of
/// this name, the port's pool. Call it once.
///
/// # Errors
/// [`NoDevice`].
///
/// # Panics
/// When the wiring lacks registers or the memory.
pub fn virtio(
    device_type: DeviceType,
    pool: Option<&str>,
) -> Result<AnyTransport<Mapped>, NoDevice> {
    install_memory(pool);
    let transport = match wiring().bus.as_str() {
        "pci" => {
            let found = pd::pci().describe().map_err(NoDevice::Pci)?;
            let bar = wiring().registers.first().and_then(|first| first.bar);
            let bar = bar.expect("the device has no BAR");
            PciTransport::new(registers(), bar, &layout(&found), device_type).map(AnyTransport::Pci)
        }
        _ => MmioTransport::new(registers(), device_type).map(AnyTransport::Mmio),
    };
    transport.map_err(NoDevice::Transport)
}

fn install_memory(pool: Option<&str>) {
    let pool = pool.and_then(|port| pd::wiring().connection(port).ok()?.pool);
    let own = wiring()
        .dma
        .expect("the driver has no memory for transfers");
    // SAFETY: the builder maps both for ever; the first for this PD alone, and no code here touches it but this
    // crate's; the second belongs to a port, whose own code expects others to write there.
    unsafe { virtio::install(region(own), pool.map(region)) };
}

/// The structures as the `pci` PD describes them. It has seen that they lie inside the BARs, and the transport sees
/// that they lie inside what is mapped.
fn layout(found: &Description) -> Virtio {
    let window = |window: Option<channel::pci::Window>| {
        let channel::pci::Window {
            bar,
            offset,
            length,
        } = window?;
        Some(pci::Window {
            bar,
            offset,
            length,
        })
    };
    Virtio {
        common: window(found.common),
        notify: window(found.notify),
        notify_multiplier: found.notify_multiplier,
        isr: window(found.isr),
        device: window(found.specific),
    }
}

fn region(dma: Dma) -> Region {
    Region {
        base: pointer(dma.span.address),
        physical: dma.physical,
        size: dma.span.size as usize,
    }
}

fn pointer(address: u64) -> NonNull<u8> {
    NonNull::new(address as *mut u8).expect("memory at address 0")
}
