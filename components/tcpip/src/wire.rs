//! The network device: frames out of the pool, and the pool to build frames in.

use channel::PeerMisbehaved;
use channel::packets::{Link, Stack as Packets, TransmitBuffer};

use crate::counters::Counters;

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
    packets: Packets,
    /// A free buffer that no frame was built in yet.
    spare: Option<TransmitBuffer>,
    /// Bytes of the longest frame to send.
    max_frame: usize,
    frames: u64,
    bytes: u64,
    payload: u64,
    dropped: u64,
}

impl Wire {
    /// Takes the stack's end of the connection, whose frames have room for [`MIN_FRAME`] bytes.
    pub fn new(packets: Packets) -> Self {
        let max_frame = packets.layout().frame_size().min(HEADER + MAX_MTU);
        Self {
            packets,
            spare: None,
            max_frame,
            frames: 0,
            bytes: 0,
            payload: 0,
            dropped: 0,
        }
    }

    /// What the driver says of the link. Its MTU, within what the stack can use, holds from now on.
    pub fn link(&mut self) -> Option<Link> {
        let link = self.packets.link()?;
        let mtu = usize::from(link.mtu).clamp(MIN_MTU, MAX_MTU);
        self.max_frame = self.packets.layout().frame_size().min(HEADER + mtu);
        let mtu = (self.max_frame - HEADER) as u16;
        Some(Link { mtu, ..link })
    }

    /// Copies the next received frame to the beginning of `frame`; `None` if there is none.
    ///
    /// # Errors
    /// [`PeerMisbehaved`] if the driver broke the protocol.
    pub fn take(&mut self, frame: &mut [u8]) -> Result<Option<usize>, PeerMisbehaved> {
        self.packets.receive(frame)
    }

    /// Sends a frame of `length` bytes that `build` writes into the driver's buffer. Returns whether there was a free
    /// buffer that long.
    pub fn transmit(&mut self, length: usize, build: impl FnOnce(&mut [u8])) -> bool {
        if length > self.max_frame || !self.has_room() {
            return false;
        }
        let Some(mut buffer) = self.spare.take() else {
            return false;
        };
        build(&mut self.packets.frame_mut(&mut buffer)[..length]);
        self.packets.submit(buffer, length);
        self.frames += 1;
        self.bytes += length as u64;
        true
    }

    /// As [`Wire::transmit`], for a frame that is lost without a buffer, as on a congested network. It is counted then.
    pub fn transmit_or_drop(&mut self, length: usize, build: impl FnOnce(&mut [u8])) {
        if !self.transmit(length, build) {
            self.dropped += 1;
        }
    }

    /// Counts bytes of TCP payload that were sent.
    pub fn count_payload(&mut self, bytes: usize) {
        self.payload += bytes as u64;
    }

    /// Whether there is a buffer to build a frame in.
    pub fn has_room(&mut self) -> bool {
        if self.spare.is_none() {
            self.spare = self.packets.transmit_buffer();
        }
        self.spare.is_some()
    }

    /// Publishes what was sent, gives back the buffers of what was received, and prepares to sleep; `false` if
    /// there is more to do. With `wants_room`, a free buffer wakes too.
    pub fn sleep(&mut self, wants_room: bool) -> bool {
        self.packets.sleep(wants_room)
    }

    /// Adds what was sent since the last call.
    pub fn count(&mut self, counters: &mut Counters) {
        counters.frames_sent += core::mem::take(&mut self.frames);
        counters.bytes_sent += core::mem::take(&mut self.bytes);
        counters.copied_out += core::mem::take(&mut self.payload);
        counters.dropped_no_buffer += core::mem::take(&mut self.dropped);
    }
}
