//! smoltcp's view of the network device: one received frame at a time, and the frame pool to build in.

use alloc::boxed::Box;
use alloc::vec;

use channel::PeerMisbehaved;
use channel::packets::{Link, Stack as Packets, TransmitBuffer};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::counters::Counters;
use crate::fin;

/// Length of the Ethernet header.
const HEADER: usize = 14;
/// The longest IP packets that the stack sends: what Ethernet carries.
const MAX_MTU: usize = 1500;
/// IPv6 wants links that carry packets of this length (RFC 8200, section 5).
const MIN_MTU: usize = 1280;
/// The shortest pool buffers that do, in bytes.
pub(crate) const MIN_FRAME: usize = HEADER + MIN_MTU;

/// The connection to the driver.
pub(crate) struct Wire {
    /// Private copy of a received frame: the driver could change the pool's while it is parsed.
    frame: Box<[u8]>,
    /// Length of the frame received last.
    received: usize,
    /// Length of the frame that smoltcp has still to take.
    pending: Option<usize>,
    sender: Sender,
    max_frame: usize,
}

struct Sender {
    packets: Packets,
    /// A free buffer that a frame was offered but not built in.
    spare: Option<TransmitBuffer>,
    /// Where replies go when the pool is exhausted: nowhere.
    bin: Box<[u8]>,
    starved: bool,
    frames: u64,
    bytes: u64,
    payload: u64,
    dropped: u64,
}

impl Wire {
    /// Takes the stack's end of the connection, whose frames have room for [`MIN_FRAME`] bytes.
    pub fn new(packets: Packets) -> Self {
        let frame_size = packets.layout().frame_size();
        Self {
            frame: vec![0; frame_size].into(),
            max_frame: frame_size.min(HEADER + MAX_MTU),
            received: 0,
            pending: None,
            sender: Sender {
                packets,
                spare: None,
                bin: vec![0; frame_size].into(),
                starved: false,
                frames: 0,
                bytes: 0,
                payload: 0,
                dropped: 0,
            },
        }
    }

    /// What the driver says of the link. Its MTU, within what the stack can use, holds from now on.
    pub fn link(&mut self) -> Option<Link> {
        let link = self.sender.packets.link()?;
        let mtu = usize::from(link.mtu).clamp(MIN_MTU, MAX_MTU);
        self.max_frame = self.frame.len().min(HEADER + mtu);
        Some(link)
    }

    /// Copies the next received frame out of the pool and keeps it for smoltcp; `None` if there is none.
    ///
    /// # Errors
    /// [`PeerMisbehaved`] if the driver broke the protocol.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, PeerMisbehaved> {
        self.pending = self.sender.packets.receive(&mut self.frame)?;
        self.received = self.pending.unwrap_or(0);
        Ok(self.pending.map(|length| &self.frame[..length]))
    }

    /// Copies the next received frame to the beginning of `frame`; `None` if there is none.
    ///
    /// # Errors
    /// [`PeerMisbehaved`] if the driver broke the protocol.
    #[allow(dead_code)] // Until the stack uses it.
    pub fn take(&mut self, frame: &mut [u8]) -> Result<Option<usize>, PeerMisbehaved> {
        self.sender.packets.receive(frame)
    }

    /// Returns the longest IP packet that a frame has room for, in bytes.
    pub fn mtu(&self) -> u16 {
        (self.max_frame - HEADER) as u16
    }

    /// Sends a frame of `length` bytes that `build` writes into the driver's buffer. Returns whether there was a free
    /// buffer that long.
    pub fn transmit(&mut self, length: usize, build: impl FnOnce(&mut [u8])) -> bool {
        let sender = &mut self.sender;
        if length > self.max_frame || !sender.reserve() {
            return false;
        }
        let Some(mut buffer) = sender.spare.take() else {
            return false;
        };
        build(&mut sender.packets.frame_mut(&mut buffer)[..length]);
        sender.packets.submit(buffer, length);
        sender.frames += 1;
        sender.bytes += length as u64;
        true
    }

    /// As [`Wire::transmit`], for a frame that is lost without a buffer, as on a congested network. It is counted then.
    pub fn transmit_or_drop(&mut self, length: usize, build: impl FnOnce(&mut [u8])) {
        if !self.transmit(length, build) {
            self.sender.dropped += 1;
        }
    }

    /// Counts bytes of TCP payload that were sent.
    pub fn count_payload(&mut self, bytes: usize) {
        self.sender.payload += bytes as u64;
    }

    /// Takes the FIN out of the received segment, before smoltcp takes the data. Returns whether it could.
    pub fn take_fin_off(&mut self) -> bool {
        self.pending
            .is_some_and(|length| fin::take_off(&mut self.frame[..length]))
    }

    /// Keeps for smoltcp the FIN alone that was taken off the segment received last. Returns whether it could.
    pub fn leave_fin(&mut self) -> bool {
        self.pending = fin::alone(&mut self.frame[..self.received]);
        self.pending.is_some()
    }

    /// Whether a frame could not be sent for want of a buffer since the last call.
    pub fn take_starved(&mut self) -> bool {
        core::mem::take(&mut self.sender.starved)
    }

    /// Whether there is a buffer to build a frame in.
    pub fn has_room(&mut self) -> bool {
        self.sender.reserve()
    }

    /// Publishes what was sent, gives back the buffers of what was received, and prepares to sleep; `false` if
    /// there is more to do. With `wants_room`, a free buffer wakes too.
    pub fn sleep(&mut self, wants_room: bool) -> bool {
        self.sender.packets.sleep(wants_room)
    }

    /// Adds what was sent since the last call.
    pub fn count(&mut self, counters: &mut Counters) {
        let sender = &mut self.sender;
        counters.frames_sent += core::mem::take(&mut sender.frames);
        counters.bytes_sent += core::mem::take(&mut sender.bytes);
        counters.copied_out += core::mem::take(&mut sender.payload);
        counters.dropped_no_buffer += core::mem::take(&mut sender.dropped);
    }
}

impl Sender {
    /// Whether there is a buffer to build a frame in.
    fn reserve(&mut self) -> bool {
        if self.spare.is_none() {
            self.spare = self.packets.transmit_buffer();
        }
        self.starved |= self.spare.is_none();
        self.spare.is_some()
    }
}

impl Device for Wire {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Transmit<'_>)> {
        let length = self.pending.take()?;
        Some((Received(&self.frame[..length]), Transmit(&mut self.sender)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Transmit<'_>> {
        self.sender.reserve().then_some(Transmit(&mut self.sender))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.max_frame;
        capabilities
    }
}

/// A received frame in private memory.
pub(crate) struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, parse: F) -> R {
        parse(self.0)
    }
}

/// The right to send one frame.
pub(crate) struct Transmit<'a>(&'a mut Sender);

impl phy::TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, build: F) -> R {
        let sender = self.0;
        sender.reserve();
        let Some(mut buffer) = sender.spare.take() else {
            // A reply to a received frame. It is lost, as on a congested network.
            sender.dropped += 1;
            return build(&mut sender.bin[..length]);
        };
        let frame = &mut sender.packets.frame_mut(&mut buffer)[..length];
        let result = build(frame);
        sender.payload += tcp_payload(frame) as u64;
        sender.packets.submit(buffer, length);
        sender.frames += 1;
        sender.bytes += length as u64;
        result
    }
}

/// Length of the TCP payload of a frame that smoltcp built: without IP options or extension headers.
fn tcp_payload(frame: &[u8]) -> usize {
    let transport = match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, ..] if frame.get(23) == Some(&6) => 34,
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ..] if frame.get(20) == Some(&6) => 54,
        _ => return 0,
    };
    let header = frame
        .get(transport + 12)
        .map_or(0, |offset| usize::from(offset >> 4) * 4);
    frame.len().saturating_sub(transport + header)
}
