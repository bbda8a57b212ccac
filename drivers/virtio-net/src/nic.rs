//! The device: its features, its configuration and its two queues.

use channel::packets::{Link, ReceiveBuffer, TransmitBuffer};
use virtio::{
    Areas, Dma, InitError, Queue, Reset, Transport, allocate, features, negotiate, start,
};

use crate::Error;

/// Features (section 5.1.3).
const FEATURE_MTU: u64 = 1 << 3;
const FEATURE_ADDRESS: u64 = 1 << 5;
const FEATURE_STATUS: u64 = 1 << 16;

/// Offsets in the device configuration (section 5.1.4).
const CONFIG_ADDRESS: usize = 0;
const CONFIG_STATUS: usize = 6;
const CONFIG_MTU: usize = 10;
const STATUS_LINK_UP: u16 = 1;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// Descriptors of a queue: what QEMU's device has. A received frame takes one, a frame to send takes two.
pub const DESCRIPTORS: usize = 256;

/// Bytes of the header in front of each frame (section 5.1.6; with `VERSION_1` it has `num_buffers`).
pub const HEADER: usize = 12;

/// The payload of an Ethernet frame where the device does not say another.
const ETHERNET_MTU: u16 = 1500;
/// The least that IPv4 allows for (RFC 791, section 3.2); a device that says less is not believed.
const LEAST_MTU: u16 = 68;

/// Attempts at reading a configuration that does not change meanwhile.
const CONFIG_ATTEMPTS: u32 = 8;

/// A network device.
pub struct Nic<T> {
    pub transport: T,
    features: u64,
    /// All zeros: no offload. Every frame to send begins with it.
    pub header: Dma,
}

/// The queues of a device that works.
pub struct Queues {
    pub receive: Queue<ReceiveBuffer, DESCRIPTORS>,
    pub transmit: Queue<TransmitBuffer, DESCRIPTORS>,
}

impl<T: Transport + Areas + Reset> Nic<T> {
    pub fn new(transport: T) -> Result<Self, InitError> {
        let no_memory = InitError::Queue(virtio::Error::DmaError);
        let header = allocate(HEADER).ok_or(no_memory)?;
        Ok(Self {
            transport,
            features: 0,
            header,
        })
    }

    /// Resets the device and sets it up.
    pub fn set_up(&mut self) -> Result<Queues, InitError> {
        let wanted = FEATURE_MTU | FEATURE_ADDRESS | FEATURE_STATUS;
        self.features = negotiate(&mut self.transport, wanted)?;
        let event_idx = self.has(features::EVENT_IDX);
        let queues = Queues {
            receive: Queue::new(&mut self.transport, RECEIVE, event_idx)?,
            transmit: Queue::new(&mut self.transport, TRANSMIT, event_idx)?,
        };
        start(&mut self.transport);
        Ok(queues)
    }

    /// What the device says of its link.
    pub fn link(&self) -> Result<Link, Error> {
        for _ in 0..CONFIG_ATTEMPTS {
            let before = self.transport.read_config_generation();
            let link = self.read_link();
            if self.transport.read_config_generation() == before {
                return link;
            }
        }
        self.read_link()
    }

    fn read_link(&self) -> Result<Link, Error> {
        if !self.has(FEATURE_ADDRESS) {
            return Err(Error::NoAddress);
        }
        let missing = |_| Error::NoAddress;
        let address = self
            .transport
            .read_config_space(CONFIG_ADDRESS)
            .map_err(missing)?;
        let field = |feature, offset| {
            self.has(feature)
                .then(|| self.transport.read_config_space::<u16>(offset).ok())
                .flatten()
        };
        let up = field(FEATURE_STATUS, CONFIG_STATUS).is_none_or(|s| s & STATUS_LINK_UP != 0);
        let mtu = field(FEATURE_MTU, CONFIG_MTU).filter(|mtu| *mtu >= LEAST_MTU);
        Ok(Link {
            address,
            up,
            mtu: mtu.unwrap_or(ETHERNET_MTU),
        })
    }

    fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }
}
