//! The serial line over which keys and certificates come.

use alloc::format;
use alloc::vec::Vec;

use sel4_microkit::ChannelSet;
use uart::{Receiver, Transmitter};
use vault::Vault;
use vault::provision::{Line, MAX_PARCEL, Parcel, ProvisionError, Receipt};

#[cfg_attr(target_arch = "x86_64", path = "line/uart.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "line/console.rs")]
mod serial;

use serial::Serial;

/// Bytes that are read at a time: signatures are wanted meanwhile, and an interrupt comes for the rest.
const BATCH: usize = 512;

/// Most bytes of answers that wait for the line: the longest is a certificate request in hexadecimal digits. Whoever
/// sends and does not read gets no more.
const MAX_WAITING: usize = 2 * MAX_PARCEL + 4;

/// The port, and what is on its way in both directions.
pub struct Port {
    serial: Serial,
    line: Line,
    answers: Vec<u8>,
}

impl Port {
    /// The vault's device, if it has one and it answers.
    pub fn open() -> Option<Self> {
        pd::wiring().device.as_ref()?;
        match serial::open() {
            Ok(mut serial) => {
                serial.listen();
                pd::info!("takes keys from a serial line");
                Some(Self {
                    serial,
                    line: Line::default(),
                    answers: Vec::new(),
                })
            }
            Err(error) => {
                pd::error!("{error}: no keys will come");
                None
            }
        }
    }

    /// Whether the port's interrupt is among these.
    pub fn rang(&self, channels: ChannelSet) -> bool {
        channels.contains(device::interrupt())
    }

    /// Reads what has come and answers it; whether the keys have changed. `obey` gets what a line held.
    pub fn work(&mut self, mut obey: impl FnMut(&[u8]) -> Result<Receipt, ProvisionError>) -> bool {
        self.serial.acknowledge();
        let mut changed = false;
        for _ in 0..BATCH {
            let Some(byte) = self.serial.read() else {
                break;
            };
            let Some(sent) = self.line.push(byte) else {
                continue;
            };
            let done = sent.and_then(|sent| obey(&sent));
            match &done {
                Ok(Receipt::Key(taken)) => pd::info!("took over a key for {taken}"),
                Ok(Receipt::Certificates(taken)) => pd::info!("has certificates for {taken}"),
                Ok(Receipt::Request(_)) => pd::info!("wrote a certificate request"),
                Err(error) => pd::warn!("refused what was sent: {error}"),
            }
            changed |= matches!(done, Ok(Receipt::Key(_) | Receipt::Certificates(_)));
            let answer = match &done {
                Ok(receipt) => format!("ok {receipt}\n"),
                Err(error) => format!("error {error}\n"),
            };
            if self.answers.len() + answer.len() <= MAX_WAITING {
                self.answers.extend(answer.bytes());
            }
        }
        let written = self.serial.write(&self.answers);
        self.answers.drain(..written);
        device::acknowledge(device::interrupt());
        changed
    }
}

/// Bytes of memory that must be free before the vault handles a parcel: for a key and its
/// certificates in the line's buffer, in the vault, in temporary copies, and for the next parcel.
const ROOM: usize = 8 * MAX_PARCEL;

/// Gives the vault what came.
pub fn obey(vault: &mut Vault, sent: &[u8]) -> Result<Receipt, ProvisionError> {
    if !pd::has_room(ROOM) {
        return Err(ProvisionError::Full);
    }
    vault.provision(&Parcel::from_bytes(sent)?)
}
