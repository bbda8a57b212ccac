//! A virtio console. What comes lies in memory that its device reaches until the driver has copied and wiped it.

use alloc::string::{String, ToString};

use registers::Mapped;
use virtio::AnyTransport;
use virtio_console::{BUFFER, Console, DEVICE_TYPE};

pub type Serial = Console<AnyTransport<Mapped>>;

/// What comes between two interrupts is read at once.
const _: () = assert!(BUFFER <= super::BATCH);

pub fn open() -> Result<Serial, String> {
    let transport = device::virtio(DEVICE_TYPE, None).map_err(|error| error.to_string())?;
    let report = |misbehaviour| pd::warn!("the line: {misbehaviour}; it was reset");
    Console::new(transport, report).map_err(|error| error.to_string())
}
