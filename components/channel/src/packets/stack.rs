//! The stack's end.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    DESCRIPTOR, LINK_WORDS, Layout, Lent, Link, Peer, Pool, RETURNED, TransmitBuffer, descriptor,
    parts,
};
use crate::doorbell::{ALWAYS, Doorbell};
use crate::memory::{OwnRegion, PeerRegion, PeerWords};
use crate::read::Read;
use crate::ring::{Consumer, Producer};
use crate::{LayoutError, Notify, PeerMisbehaved};

/// The stack's end: the consumer.
pub struct Stack {
    layout: Layout,
    pool: Pool,
    peer: Peer,
    bell: Doorbell,
    receive_free: Producer<DESCRIPTOR>,
    receive_full: Consumer<DESCRIPTOR>,
    transmit_full: Producer<DESCRIPTOR>,
    transmit_free: Consumer<DESCRIPTOR>,
    link: PeerWords,
    known_link: u64,
    received: Lent,
    transmitted: Lent,
    /// Transmit buffers that hold no frame.
    free: Vec<u16>,
    news: u64,
}

impl Stack {
    /// Begins a life; the driver holds all receive buffers, the stack all transmit buffers.
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
        // In each region the rings that its side writes messages to come first, as in the driver.
        let receive_full = Consumer::new(count, own, peers);
        let transmit_free = Consumer::new(count, own, peers);
        let receive_free = Producer::new(count, own, peers);
        let transmit_full = Producer::new(count, own, peers);
        Ok(Self {
            layout,
            pool,
            peer,
            bell,
            receive_full: receive_full?,
            transmit_free: transmit_free?,
            receive_free: receive_free?,
            transmit_full: transmit_full?,
            link: peers.words(LINK_WORDS)?,
            known_link: 0,
            received: Lent::new(0, count, true),
            transmitted: Lent::new(count, count, false),
            free: (count as u16..2 * count as u16).rev().collect(),
            news: 0,
        })
    }

    /// The layout of the pool.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The link, if there is a driver and it has told of one.
    pub fn link(&mut self) -> Option<Link> {
        self.known_link = match self.is_joined() {
            true => self.link.load(0),
            false => 0,
        };
        Link::from_word(self.known_link)
    }

    /// Copies the next received frame to the beginning of `frame`, returns its buffer to the driver, and says
    /// how long the frame is. One that `frame` has no room for is cut; [`Layout::frame_size`] bytes hold all.
    ///
    /// # Errors
    /// What the driver did wrong, now or before.
    pub fn receive(&mut self, frame: &mut [u8]) -> Result<Option<usize>, PeerMisbehaved> {
        self.peer.check()?;
        self.bell.wake();
        if !self.is_joined() {
            return Ok(None);
        }
        match self.try_receive(frame) {
            // What was read may be zeros.
            Ok(_) if self.peer.epoch.has_changed() => Ok(None),
            received => self.peer.judge(received).map(Read::available),
        }
    }

    fn try_receive(&mut self, frame: &mut [u8]) -> Result<Option<usize>, PeerMisbehaved> {
        let Some(message) = self.receive_full.pop()? else {
            return Ok(None);
        };
        let (index, length) = parts(message);
        if length > self.layout.frame_size() {
            return Err(PeerMisbehaved::TooLong);
        }
        let index = self.received.take_back(index)?;
        let length = length.min(frame.len());
        self.pool
            .copy_frame(&self.layout, index.into(), &mut frame[..length]);
        self.received.give(index);
        self.receive_free.push(descriptor(index, 0))?;
        self.news |= RETURNED;
        Ok(Some(length))
    }

    /// A buffer to build a frame in, or `None` while the driver holds all. One that is dropped instead of
    /// submitted is lost; hand it back with [`Stack::discard`].
    pub fn transmit_buffer(&mut self) -> Option<TransmitBuffer> {
        self.free_transmit_buffers();
        self.free.pop().map(TransmitBuffer)
    }

    /// How many buffers [`Stack::transmit_buffer`] can give now.
    pub fn free_transmit_buffers(&mut self) -> usize {
        while self.is_joined() {
            let returned = self.take_returned();
            match self.peer.judge(returned) {
                Ok(Read::Value(Some(index))) => self.free.push(index),
                Ok(Read::Value(None) | Read::Restarted) | Err(_) => break,
            }
        }
        self.free.len()
    }

    fn take_returned(&mut self) -> Result<Option<u16>, PeerMisbehaved> {
        match self.transmit_free.pop()? {
            Some(message) => self.transmitted.take_back(parts(message).0).map(Some),
            None => Ok(None),
        }
    }

    /// The place for the frame in the buffer, [`Layout::frame_size`] bytes.
    ///
    /// The driver can change them at any moment: write them, and check nothing that was read back.
    pub fn frame_mut(&mut self, buffer: &mut TransmitBuffer) -> &mut [u8] {
        self.pool.frame_mut(&self.layout, buffer.0.into())
    }

    /// Sends the first `length` bytes of the buffer's frame; a longer length is cut to the frame size. Without a driver the
    /// frame is lost.
    pub fn submit(&mut self, buffer: TransmitBuffer, length: usize) {
        if !self.is_joined() {
            return self.discard(buffer);
        }
        self.transmitted.give(buffer.0);
        let length = length.min(self.layout.frame_size());
        let pushed = self.transmit_full.push(descriptor(buffer.0, length));
        // The ring has room for all buffers, so it is full only for a driver that misbehaved.
        self.peer.judge_push(pushed);
        self.news |= ALWAYS;
    }

    /// Hands a buffer back without sending it.
    pub fn discard(&mut self, buffer: TransmitBuffer) {
        self.free.push(buffer.0);
    }

    /// Notifies the driver if it sleeps and something of interest was published since the last flush.
    pub fn flush(&mut self) {
        let news = core::mem::take(&mut self.news);
        if news != 0 && self.peer.check().is_ok() {
            self.bell.ring(news);
        }
    }

    /// Flushes and goes to sleep. `true`: nothing is left to do, return to the receive point. `false`: a frame has
    /// come meanwhile, or the link changed.
    ///
    /// `wants_room`: a frame waits for a transmit buffer, so that a returned one is news.
    pub fn sleep(&mut self, wants_room: bool) -> bool {
        self.flush();
        if self.peer.check().is_err() {
            return true;
        }
        self.bell.lie_down(if wants_room { RETURNED } else { 0 });
        let work = self.has_work(wants_room);
        if work {
            self.bell.wake();
        }
        !work
    }

    fn has_work(&mut self, wants_room: bool) -> bool {
        if self.peer.epoch.has_changed() {
            return true;
        }
        if !self.peer.epoch.is_joined() {
            return false;
        }
        let link = core::mem::replace(&mut self.known_link, self.link.load(0));
        self.receive_full.has_more()
            || wants_room && self.transmit_free.has_more()
            || self.known_link != link
    }

    /// Whether both sides have joined each other. Joins a new driver.
    fn is_joined(&mut self) -> bool {
        if self.peer.check().is_err() {
            return false;
        }
        if self.peer.epoch.has_changed() {
            self.join();
        }
        self.peer.epoch.is_joined()
    }

    /// The user keeps the buffers that it has.
    fn join(&mut self) {
        self.received.give_all();
        let free = self.transmitted.take_all_back();
        self.free.extend(free);
        self.receive_free.reset();
        self.receive_full.reset();
        self.transmit_full.reset();
        self.transmit_free.reset();
        self.peer.epoch.join();
        self.bell.ring_anyway();
    }
}
