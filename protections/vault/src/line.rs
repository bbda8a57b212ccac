//! The serial line over which keys come.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use device::PortRange;
use sel4_microkit::ChannelSet;
use uart::{NoUart, Ns16550, Receiver, Speed, Transmitter};
use vault::Vault;
use vault::provision::{Line, Parcel, ProvisionError};

/// The input clock of a PC's serial ports in Hz.
const PC_CLOCK: u32 = 1_843_200;

/// Bytes that are read at a time: signatures are wanted meanwhile, and an interrupt comes for the rest.
const BATCH: usize = 512;

/// Most bytes of answers that wait for the line; whoever sends and does not read gets no more.
const MAX_WAITING: usize = 4096;

/// The port, and what is on its way in both directions.
pub struct Port {
    uart: Ns16550<PortRange>,
    line: Line,
    answers: Vec<u8>,
}

impl Port {
    /// The vault's device, if it has one and it answers.
    pub fn open() -> Option<Self> {
        let device = pd::wiring().device.as_ref()?;
        if device.bus != "ports" {
            pd::error!("keys come over a serial port at I/O ports only: none will come");
            return None;
        }
        match uart() {
            Ok(uart) => {
                pd::info!("takes keys from a serial line");
                Some(Self {
                    uart,
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

    /// Reads what has come and answers it; whether the keys have changed. `take_over` gets what a line held.
    pub fn work(
        &mut self,
        mut take_over: impl FnMut(&[u8]) -> Result<String, ProvisionError>,
    ) -> bool {
        self.uart.acknowledge();
        let mut changed = false;
        for _ in 0..BATCH {
            let Some(byte) = self.uart.read() else { break };
            let Some(sent) = self.line.push(byte) else {
                continue;
            };
            let taken = sent.and_then(|sent| take_over(&sent));
            let answer = match &taken {
                Ok(names) => format!("ok {names}\n"),
                Err(error) => format!("error {error}\n"),
            };
            match &taken {
                Ok(names) => pd::info!("took over a key for {names}"),
                Err(error) => pd::warn!("refused a key: {error}"),
            }
            changed |= taken.is_ok();
            if self.answers.len() + answer.len() <= MAX_WAITING {
                self.answers.extend(answer.bytes());
            }
        }
        let written = self.uart.write(&self.answers);
        self.answers.drain(..written);
        device::acknowledge(device::interrupt());
        changed
    }
}

/// Gives the vault what came; the names of the key.
pub fn take_over(vault: &mut Vault, sent: &[u8]) -> Result<String, ProvisionError> {
    let parcel = Parcel::from_bytes(sent)?;
    vault.provision(&parcel)?;
    Ok(parcel.names.join(", "))
}

fn uart() -> Result<Ns16550<PortRange>, NoUart> {
    let speed = Speed {
        clock: device::property("clock").unwrap_or(PC_CLOCK),
        rate: device::property("bit_rate").unwrap_or(115_200),
    };
    let mut uart = Ns16550::new(device::ports(), Some(speed))?;
    uart.listen();
    Ok(uart)
}
