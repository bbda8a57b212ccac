//! The driver's end.

use alloc::boxed::Box;
use core::ptr::NonNull;

use super::{
    Buffer, DESCRIPTOR, LINK_WORDS, Layout, Lent, Link, Pool, RETURNED, ReceiveBuffer,
    TransmitBuffer, descriptor, parts,
};
use crate::doorbell::{ALWAYS, Doorbell};
use crate::memory::{OwnRegion, OwnWords, PeerRegion};
use crate::ring::{Consumer, Producer};
use crate::{LayoutError, Notify, PeerMisbehaved};

/// The driver's end: the provider.
pub struct Driver {
    layout: Layout,
    pool: Pool,
    bell: Doorbell,
    receive_free: Consumer<DESCRIPTOR>,
    receive_full: Producer<DESCRIPTOR>,
    transmit_full: Consumer<DESCRIPTOR>,
    transmit_free: Producer<DESCRIPTOR>,
    link: OwnWords,
    received: Lent,
    transmitted: Lent,
    /// Receive buffers that the driver has never given to anyone: those from here on.
    untouched: usize,
    news: u64,
    failed: Option<PeerMisbehaved>,
}

impl Driver {
    /// Joins the regions; the driver holds all receive buffers, the stack all transmit buffers.
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
        Ok(Self {
            layout,
            pool,
            bell: Doorbell::new(own, peers, Box::new(notify))?,
            receive_full: Producer::new(count, own, peers)?,
            transmit_free: Producer::new(count, own, peers)?,
            receive_free: Consumer::new(count, own, peers)?,
            transmit_full: Consumer::new(count, own, peers)?,
            link: own.words(LINK_WORDS)?,
            received: Lent::new(0, count, false),
            transmitted: Lent::new(count, count, true),
            untouched: 0,
            news: 0,
            failed: None,
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

    /// The next empty buffer for the device: at first all receive buffers, then those that the stack returned.
    ///
    /// # Errors
    /// What the stack did wrong, now or before.
    pub fn take_receive_buffer(&mut self) -> Result<Option<ReceiveBuffer>, PeerMisbehaved> {
        if self.untouched < self.layout.buffers {
            self.untouched += 1;
            return Ok(Some(ReceiveBuffer((self.untouched - 1) as u16)));
        }
        self.check()?;
        self.bell.wake();
        let taken = self.try_take_receive_buffer();
        self.note(taken)
    }

    fn try_take_receive_buffer(&mut self) -> Result<Option<ReceiveBuffer>, PeerMisbehaved> {
        let Some(message) = self.receive_free.pop()? else {
            return Ok(None);
        };
        let index = self.received.take_back(parts(message).0)?;
        Ok(Some(ReceiveBuffer(index)))
    }

    /// Gives the stack a frame of `length` bytes that the device has put at [`HEADROOM`](super::HEADROOM);
    /// a longer one than a buffer holds is cut.
    pub fn received(&mut self, buffer: ReceiveBuffer, length: usize) {
        self.received.give(buffer.0);
        let length = length.min(self.layout.frame_size());
        let pushed = self.receive_full.push(descriptor(buffer.0, length));
        // The ring has room for all buffers, so it is full only for a stack that misbehaved.
        let _ = self.note(pushed);
        self.news |= ALWAYS;
    }

    /// The next frame to send and its length.
    ///
    /// # Errors
    /// What the stack did wrong, now or before.
    pub fn next_transmit(&mut self) -> Result<Option<(TransmitBuffer, usize)>, PeerMisbehaved> {
        self.check()?;
        self.bell.wake();
        let next = self.try_next_transmit();
        self.note(next)
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
        self.transmitted.give(buffer.0);
        let pushed = self.transmit_free.push(descriptor(buffer.0, 0));
        let _ = self.note(pushed);
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
        if news != 0 && self.failed.is_none() {
            self.bell.ring(news);
        }
    }

    /// Flushes and goes to sleep. `true`: nothing is left to do, return to the receive point. `false`: the stack has
    /// sent something meanwhile.
    ///
    /// `wants_buffers`: the device is short of receive buffers, so that a returned one is news.
    pub fn sleep(&mut self, wants_buffers: bool) -> bool {
        self.flush();
        if self.failed.is_some() {
            return true;
        }
        self.bell.lie_down(if wants_buffers { RETURNED } else { 0 });
        let work = self.transmit_full.has_more() || wants_buffers && self.receive_free.has_more();
        if work {
            self.bell.wake();
        }
        !work
    }

    fn check(&self) -> Result<(), PeerMisbehaved> {
        self.failed.map_or(Ok(()), Err)
    }

    fn note<T>(&mut self, result: Result<T, PeerMisbehaved>) -> Result<T, PeerMisbehaved> {
        if let Err(misbehaved) = result {
            self.failed.get_or_insert(misbehaved);
        }
        result
    }
}
