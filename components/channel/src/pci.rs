//! The `pci` interface: what the `pci` PD tells a driver about the driver's own device.
//!
//! A driver sees no other device: which function a request means follows from the channel it came by.

use alloc::boxed::Box;

use crate::call::{Call, CallError, arguments, exact};

const DESCRIBE: u64 = 1;
const READ: u64 = 2;
const DESCRIPTION_WORDS: usize = 14 + 4 * WINDOW_WORDS;
const WINDOW_WORDS: usize = 2;
/// Bytes of a function's configuration space (PCI 3.0, section 6.1).
const CONFIGURATION: u64 = 256;

/// A device as the `pci` PD set it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Vendor identifier (PCI 3.0, section 6.2.1).
    pub vendor: u16,
    /// Device identifier.
    pub device: u16,
    /// The memory of its base address registers, where it has some.
    pub bars: [Option<Bar>; 6],
    /// The common configuration of a virtio device (virtio 1.2, section 4.1.4), as all windows below.
    pub common: Option<Window>,
    /// Its notifications.
    pub notify: Option<Window>,
    /// Its interrupt status.
    pub isr: Option<Window>,
    /// The configuration of its kind of device.
    pub specific: Option<Window>,
    /// Bytes between the places of notification of two queues, times the queue's offset.
    pub notify_multiplier: u32,
}

/// What a base address register decodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// Physical address.
    pub address: u64,
    /// Length in bytes, not 0.
    pub size: u64,
}

/// A part of a base address register's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The register, 0 to 5.
    pub bar: u8,
    /// Offset in its memory, in bytes.
    pub offset: u32,
    /// Length in bytes, not 0.
    pub length: u32,
}

impl Description {
    /// Writes the answer's words and says how many; 0 if `words` holds fewer than 22.
    pub fn encode(&self, words: &mut [u64]) -> usize {
        let Some(words) = words.first_chunk_mut::<DESCRIPTION_WORDS>() else {
            return 0;
        };
        words[0] = u64::from(self.vendor) | u64::from(self.device) << 16;
        words[1] = self.notify_multiplier.into();
        let (bars, windows) = words[2..].split_at_mut(12);
        for (pair, bar) in bars.chunks_exact_mut(2).zip(self.bars) {
            let bar = bar.unwrap_or_default();
            pair.copy_from_slice(&[bar.address, bar.size]);
        }
        for (pair, window) in windows.chunks_exact_mut(WINDOW_WORDS).zip(self.windows()) {
            let window = window.unwrap_or_default();
            pair[0] = window.bar.into();
            pair[1] = u64::from(window.offset) | u64::from(window.length) << 32;
        }
        DESCRIPTION_WORDS
    }

    fn decode(words: [u64; DESCRIPTION_WORDS]) -> Result<Self, CallError> {
        let (bars, windows) = words[2..].split_at(12);
        let bar = |index: usize| {
            let (address, size) = (bars[2 * index], bars[2 * index + 1]);
            (size != 0).then_some(Bar { address, size })
        };
        let window = |index: usize| {
            let (bar, place) = (windows[2 * index], windows[2 * index + 1]);
            let bar = u8::try_from(bar).ok().filter(|&bar| bar < 6);
            let (offset, length) = (place as u32, (place >> 32) as u32);
            match (bar, length) {
                (_, 0) => Ok(None),
                (Some(bar), length) => Ok(Some(Window {
                    bar,
                    offset,
                    length,
                })),
                (None, _) => Err(CallError::Malformed),
            }
        };
        Ok(Self {
            vendor: words[0] as u16,
            device: (words[0] >> 16) as u16,
            bars: core::array::from_fn(bar),
            common: window(0)?,
            notify: window(1)?,
            isr: window(2)?,
            specific: window(3)?,
            notify_multiplier: words[1].try_into().map_err(|_| CallError::Malformed)?,
        })
    }

    fn windows(&self) -> [Option<Window>; 4] {
        [self.common, self.notify, self.isr, self.specific]
    }
}

/// The driver's end.
pub struct Pci {
    server: Box<dyn Call>,
}

impl Pci {
    /// A client of the server that `call` reaches.
    pub fn new(call: impl Call + 'static) -> Self {
        Self {
            server: Box::new(call),
        }
    }

    /// Asks for the device's description; the server has then enabled its memory, I/O and bus mastering.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the device is not there.
    pub fn describe(&self) -> Result<Description, CallError> {
        exact(&*self.server, DESCRIBE, &[]).and_then(Description::decode)
    }

    /// Reads the 32 bits at byte `register`, a multiple of 4 below 256, of the device's configuration space.
    ///
    /// # Errors
    /// [`CallError::BadRequest`] for another register.
    pub fn read(&self, register: u16) -> Result<u32, CallError> {
        let [value] = exact(&*self.server, READ, &[register.into()])?;
        value.try_into().map_err(|_| CallError::Malformed)
    }
}

/// A request as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks for the [`Description`], which [`Description::encode`] writes.
    Describe,
    /// Asks for one configuration register: one word.
    Read {
        /// Byte offset, a multiple of 4 below 256.
        register: u16,
    },
}

impl Request {
    /// Checks a request.
    ///
    /// # Errors
    /// [`CallError::BadRequest`] for another label, word count or register.
    pub fn decode(label: u64, words: &[u64]) -> Result<Self, CallError> {
        match label {
            DESCRIBE => arguments(words).map(|[]| Self::Describe),
            READ => match arguments(words)? {
                [register] if register < CONFIGURATION && register % 4 == 0 => Ok(Self::Read {
                    register: register as u16,
                }),
                _ => Err(CallError::BadRequest),
            },
            _ => Err(CallError::BadRequest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OK, Reply};

    fn device() -> Description {
        let window = |bar, offset, length| {
            Some(Window {
                bar,
                offset,
                length,
            })
        };
        let mut device = Description {
            vendor: 0x1af4,
            device: 0x1041,
            common: window(4, 0, 0x1000),
            notify: window(4, 0x3000, 0x1000),
            isr: window(5, u32::MAX, u32::MAX),
            notify_multiplier: 4,
            ..Description::default()
        };
        device.bars[4] = Some(Bar {
            address: 0x80_0000_0000,
            size: 0x4000,
        });
        device
    }

    struct Server;

    impl Call for Server {
        fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
            let outcome = Request::decode(label, request).map(|request| match request {
                Request::Describe => device().encode(reply),
                Request::Read { register } => {
                    reply[0] = register.into();
                    1
                }
            });
            match outcome {
                Ok(count) => Reply { label: OK, count },
                Err(error) => Reply {
                    label: error.label(),
                    count: 0,
                },
            }
        }
    }

    #[test]
    fn a_description_and_a_register_arrive() {
        let pci = Pci::new(Server);
        assert_eq!(pci.describe(), Ok(device()));
        assert_eq!(pci.read(0x34), Ok(0x34));
        assert_eq!(pci.read(0x35), Err(CallError::BadRequest));
        assert_eq!(pci.read(256), Err(CallError::BadRequest));
    }

    #[test]
    fn a_window_in_a_seventh_register_is_malformed() {
        let mut words = [0; DESCRIPTION_WORDS];
        device().encode(&mut words);
        words[14] = 6;
        assert_eq!(Description::decode(words), Err(CallError::Malformed));
    }

    #[test]
    fn a_description_that_does_not_fit_is_left_out() {
        assert_eq!(device().encode(&mut [0; 21]), 0);
    }
}
