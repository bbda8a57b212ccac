//! The driver's end.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;

use super::{
    Buffer, DESCRIPTOR, LINK_WORDS, Layout, Lent, Link, Peer, Pool, RETURNED, ReceiveBuffer,
    TransmitBuffer, descriptor, parts,
};
use crate::doorbell::{ALWAYS, Doorbell};
use crate::memory::{OwnRegion, OwnWords, PeerRegion};
use crate::read::Read;
use crate::ring::{Consumer, Producer};
use crate::{LayoutError, Notify, PeerMisbehaved};

/// The driver's end: the provider.
pub struct Driver {
    layout: Layout,
    pool: Pool,
    peer: Peer,
    bell: Doorbell,
    receive_free: Consumer<DESCRIPTOR>,
    receive_full: Producer<DESCRIPTOR>,
    transmit_full: Consumer<DESCRIPTOR>,
    transmit_free: Producer<DESCRIPTOR>,
    link: OwnWords,
    received: Lent,
    transmitted: Lent,
    /// Receive buffers that nobody has a use for now.
    idle: Vec<u16>,
    /// Frames to send that have not been returned yet.
    under_way: usize,
    /// The stack has gone or started over, and was not joined yet.
    gone: bool,
    news: u64,
}

impl Driver {
    /// Begins a life; the driver holds all receive buffers, the stack all transmit buffers. The device has none of them:
    /// it was reset.
    ///
    /// # Errors
    /// When a region is too small or not aligned.
    pub fn new(
        layout: Layout,
        mut own: OwnRegion,
        mut peers: PeerRegion,
        pool: Pool,
        notify: impl Notify + 'static,
    ) -> Result<Self, LayoutError> {
        let (own, peers) = (&mut own, &mut peers);
        let count = layout.buffers;
        let peer = Peer::new(own, peers)?;
        let mut bell = Doorbell::new(own, peers, Box::new(notify))?;
        bell.ring_anyway();
        Ok(Self {
            layout,
            pool,
            peer,
            bell,
            receive_full: Producer::new(count, own, peers)?,
            transmit_free: Producer::new(count, own, peers)?,
            receive_free: Consumer::new(count, own, peers)?,
            transmit_full: Consumer::new(count, own, peers)?,
            link: own.words(LINK_WORDS)?,
            received: Lent::new(0, count, false),
            transmitted: Lent::new(count, count, true),
            idle: (0..count as u16).rev().collect(),
            under_way: 0,
            gone: false,
            news: 0,
        })
    }

    /// The layout of the pool.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Tells the stack about the link, as often as it changes. The MTU is cut to 16383.
    pub fn set_link(&mut self, link: Link) {
        self.link.publish(0, link.to_word());
        self.news |= ALWAYS;
    }

    /// The next empty buffer for the device: at first all receive buffers, then those that the stack returned; none while
    /// there is no stack, so that nobody works for frames that nobody reads.
    ///
    /// # Errors
    /// What the stack did wrong, now or before.
    pub fn take_receive_buffer(&mut self) -> Result<Option<ReceiveBuffer>, PeerMisbehaved> {
        self.peer.check()?;
        self.bell.wake();
        if !self.is_joined() {
            return Ok(None);
        }
        if let Some(index) = self.idle.pop() {
            return Ok(Some(ReceiveBuffer(index)));
        }
        let taken = self.try_take_receive_buffer();
        self.peer.judge(taken).map(Read::available)
    }

    fn try_take_receive_buffer(&mut self) -> Result<Option<ReceiveBuffer>, PeerMisbehaved> {
        let Some(message) = self.receive_free.pop()? else {
            return Ok(None);
        };
        let index = self.received.take_back(parts(message).0)?;
        Ok(Some(ReceiveBuffer(index)))
    }

    /// Gives the stack a frame of `length` bytes that the device has put at [`HEADROOM`](super::HEADROOM);
    /// a longer one than a buffer holds is cut. Without a stack it is lost.
    pub fn received(&mut self, buffer: ReceiveBuffer, length: usize) {
        if !self.is_joined() {
            self.idle.push(buffer.0);
            return;
        }
        self.received.give(buffer.0);
        let length = length.min(self.layout.frame_size());
        let pushed = self.receive_full.push(descriptor(buffer.0, length));
        // The ring has room for all buffers, so it is full only for a stack that misbehaved.
        self.peer.judge_push(pushed);
        self.news |= ALWAYS;
    }

    /// The next frame to send and its length.
    ///
    /// # Errors
    /// What the stack did wrong, now or before.
    pub fn next_transmit(&mut self) -> Result<Option<(TransmitBuffer, usize)>, PeerMisbehaved> {
        self.peer.check()?;
        self.bell.wake();
        if !self.is_joined() {
            return Ok(None);
        }
        let next = self.try_next_transmit();
        let next = self.peer.judge(next)?.available();
        self.under_way += usize::from(next.is_some());
        Ok(next)
    }

    fn try_next_transmit(&mut self) -> Result<Option<(TransmitBuffer, usize)>, PeerMisbehaved> {
        let Some(message) = self.transmit_full.pop()? else {
            return Ok(None);
        };
        let (index, length) = parts(message);
        if length > self.layout.frame_size() {
            return Err(PeerMisbehaved::TooLong);
        }
        let index = self.transmitted.take_back(index)?;
        Ok(Some((TransmitBuffer(index), length)))
    }

    /// Returns a buffer whose frame was sent.
    pub fn transmitted(&mut self, buffer: TransmitBuffer) {
        // No other stack was joined since the buffer was taken.
        let joined = self.is_joined();
        self.under_way -= 1;
        if !joined {
            return;
        }
        self.transmitted.give(buffer.0);
        let pushed = self.transmit_free.push(descriptor(buffer.0, 0));
        self.peer.judge_push(pushed);
        self.news |= RETURNED;
    }

    /// The whole buffer, for the device; the frame begins at [`HEADROOM`](super::HEADROOM).
    ///
    /// The stack can write it at any moment.
    pub fn memory(&self, buffer: &impl Buffer) -> NonNull<[u8]> {
        self.pool.buffer(&self.layout, buffer.index())
    }

    /// The buffer's distance from the pool's first byte, in bytes.
    pub fn offset(&self, buffer: &impl Buffer) -> usize {
        buffer.index() * self.layout.buffer_size
    }

    /// Notifies the stack if it sleeps and something of interest was published since the last flush.
    pub fn flush(&mut self) {
        let news = core::mem::take(&mut self.news);
        if news != 0 && self.peer.check().is_ok() {
            self.bell.ring(news);
        }
    }

    /// Flushes and goes to sleep. `true`: nothing is left to do, return to the receive point. `false`: the stack has
    /// sent something meanwhile.
    ///
    /// `wants_buffers`: the device is short of receive buffers, so that a returned one is news.
    pub fn sleep(&mut self, wants_buffers: bool) -> bool {
        self.flush();
        if self.peer.check().is_err() {
            return true;
        }
        self.bell.lie_down(if wants_buffers { RETURNED } else { 0 });
        let work = self.has_work(wants_buffers);
        if work {
            self.bell.wake();
        }
        !work
    }

    fn has_work(&mut self, wants_buffers: bool) -> bool {
        if self.gone || self.peer.epoch.has_changed() {
            return self.under_way == 0;
        }
        let buffers = wants_buffers && (!self.idle.is_empty() || self.receive_free.has_more());
        self.peer.epoch.is_joined() && (buffers || self.transmit_full.has_more())
    }

    /// Whether a stack is no more whose frames are still under way: the next one waits for them.
    pub fn awaits_frames(&mut self) -> bool {
        self.gone |= self.peer.epoch.has_changed();
        self.gone && self.under_way > 0
    }

    /// Whether both sides have joined each other. Joins a new stack, if no frame of the last one is under way.
    fn is_joined(&mut self) -> bool {
        if self.peer.check().is_err() {
            return false;
        }
        self.gone |= self.peer.epoch.has_changed();
        if self.gone && self.under_way == 0 {
            self.join();
        }
        !self.gone && self.peer.epoch.is_joined()
    }

    fn join(&mut self) {
        self.idle.extend(self.received.take_all_back());
        self.transmitted.give_all();
        self.receive_free.reset();
        self.receive_full.reset();
        self.transmit_full.reset();
        self.transmit_free.reset();
        self.gone = false;
        self.peer.epoch.join();
        self.bell.ring_anyway();
    }
}
