//! The way of frames between the device and the stack.

use alloc::vec::Vec;

use channel::PeerMisbehaved;
use channel::packets::{self, HEADROOM, Link, ReceiveBuffer};
use virtio::{
    Areas, DeviceStatus, Dma, InterruptStatus, Misbehaviour, Refused, Reset, Transport,
    check_status, find,
};

use crate::nic::{DESCRIPTORS, HEADER, Nic, Queues};
use crate::{Counters, Error, Report};

/// Bytes of an Ethernet frame in front of its payload.
const ETHERNET_HEADER: usize = 14;

/// Resets after misbehaviour before the device is given up.
const MAX_RESETS: u32 = 8;
/// Frames received without misbehaviour after which earlier resets are forgiven.
const FORGIVEN_AFTER: u32 = 10_000;

/// Frames to send that can be under way at once: each takes two descriptors.
const IN_FLIGHT: usize = DESCRIPTORS / 2;

/// A device and the stack that it serves.
pub struct Driver<T> {
    nic: Nic<T>,
    /// None once the device is given up.
    queues: Option<Queues>,
    packets: packets::Driver,
    /// Buffers that the device does not have.
    spare: Vec<ReceiveBuffer>,
    link: Link,
    resets: u32,
    good: u32,
    stack_failed: bool,
    counters: Counters,
}

impl<T: Transport + Areas + Reset> Driver<T> {
    /// Sets the device up and tells the stack of its link. The memory for transfers must have been installed, with the
    /// port's pool as the pool. Call [`work`](Self::work) next.
    ///
    /// # Errors
    /// [`Error`] when the device cannot be driven.
    pub fn new(transport: T, packets: packets::Driver) -> Result<Self, Error> {
        let mut nic = Nic::new(transport)?;
        let queues = Some(nic.set_up()?);
        let link = nic.link()?;
        let mut driver = Self {
            nic,
            queues,
            packets,
            spare: Vec::new(),
            link,
            resets: 0,
            good: 0,
            stack_failed: false,
            counters: Counters::default(),
        };
        driver.publish_link();
        Ok(driver)
    }

    /// The device's hardware address.
    pub fn address(&self) -> [u8; 6] {
        self.link.address
    }

    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes note of an interrupt, so that the device lowers its line, and of what it says of its state. Call
    /// before [`work`](Self::work), and acknowledge the interrupt to the kernel after it.
    pub fn interrupt(&mut self, mut report: impl FnMut(Report)) {
        self.counters.interrupts += 1;
        let cause = self.nic.transport.ack_interrupt();
        if self.queues.is_none() || !cause.contains(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT)
        {
            return;
        }
        if let Err(misbehaviour) = check_status(&self.nic.transport) {
            self.recover(misbehaviour, &mut report);
            return;
        }
        self.follow_link(&mut report);
    }

    /// Notifies the stack if the device reports a change of its link.
    fn follow_link(&mut self, report: &mut impl FnMut(Report)) {
        if let Ok(link) = self.nic.link()
            && link != self.link
        {
            if link.up != self.link.up {
                report(Report::Link(link.up));
            }
            self.link = link;
            self.publish_link();
        }
    }

    /// Moves frames both ways until nothing is ready, then goes to sleep on both sides. It ends because the
    /// stack, which runs when this returns, owns a limited number of buffers.
    pub fn work(&mut self, mut report: impl FnMut(Report)) {
        loop {
            let moved = match self.exchange(&mut report) {
                Ok(moved) => moved,
                Err(misbehaviour) => {
                    self.recover(misbehaviour, &mut report);
                    true
                }
            };
            self.packets.flush();
            if !moved && self.sleep() {
                return;
            }
        }
    }

    /// One round: what the device returns first, so that there is room for what it is given.
    fn exchange(&mut self, report: &mut impl FnMut(Report)) -> Result<bool, Misbehaviour> {
        if self.queues.is_none() {
            return Ok(self.drop_frames(report));
        }
        let taken = self.take_received()? | self.take_sent()?;
        let given = self.give_buffers(report) | self.give_frames(report);
        if let Some(queues) = &mut self.queues {
            let transport = &mut self.nic.transport;
            let notified = [
                queues.receive.notify(transport),
                queues.transmit.notify(transport),
            ];
            self.counters.notifications += notified.into_iter().filter(|&n| n).count() as u64;
        }
        Ok(taken | given)
    }

    fn take_received(&mut self) -> Result<bool, Misbehaviour> {
        let mut moved = false;
        let Some(queues) = &mut self.queues else {
            return Ok(false);
        };
        while let Some((buffer, length)) = queues.receive.take()? {
            moved = true;
            match (length as usize).checked_sub(HEADER) {
                Some(frame) if frame > 0 => {
                    self.packets.received(buffer, frame);
                    self.counters.received += 1;
                    self.good += 1;
                }
                // Less than a header is nonsense; a header alone is an empty frame.
                frame => {
                    self.spare.push(buffer);
                    self.counters.dropped += 1;
                    frame.ok_or(Misbehaviour::Length(length))?;
                }
            }
        }
        if self.good >= FORGIVEN_AFTER {
            (self.good, self.resets) = (0, 0);
        }
        Ok(moved)
    }

    fn take_sent(&mut self) -> Result<bool, Misbehaviour> {
        let mut moved = false;
        let Some(queues) = &mut self.queues else {
            return Ok(false);
        };
        while let Some((buffer, _)) = queues.transmit.take()? {
            moved = true;
            self.packets.transmitted(buffer);
        }
        Ok(moved)
    }

    /// Gives the device empty buffers while there are any and it has room.
    fn give_buffers(&mut self, report: &mut impl FnMut(Report)) -> bool {
        let mut moved = false;
        while let Some(queues) = self
            .queues
            .as_mut()
            .filter(|queues| queues.receive.free() > 0)
        {
            let next = match self.spare.pop() {
                Some(buffer) => Ok(Some(buffer)),
                None => self.packets.take_receive_buffer(),
            };
            let Some(buffer) = said(next, &mut self.stack_failed, report) else {
                break;
            };
            // The header ends where the frame begins.
            let memory = self.packets.memory(&buffer);
            let place = find(memory.cast(), memory.len()).and_then(|memory| {
                memory.part(HEADROOM - HEADER, memory.size() - HEADROOM + HEADER)
            });
            // A buffer outside the pool cannot be; were there one, it would stay out of use.
            if let Some(place) = place
                && let Err(Refused(buffer)) = queues.receive.add(&[], &[place], buffer)
            {
                self.spare.push(buffer);
                break;
            }
            moved = true;
        }
        moved
    }

    /// Gives the device frames to send while there are any and it has room.
    fn give_frames(&mut self, report: &mut impl FnMut(Report)) -> bool {
        let mut moved = false;
        while let Some(queues) = self
            .queues
            .as_mut()
            .filter(|queues| queues.transmit.free() >= 2)
        {
            let next = self.packets.next_transmit();
            let Some((buffer, length)) = said(next, &mut self.stack_failed, report) else {
                break;
            };
            moved = true;
            let memory = self.packets.memory(&buffer);
            let frame: Option<Dma> =
                find(memory.cast(), memory.len()).and_then(|memory| memory.part(HEADROOM, length));
            let refused = match frame {
                Some(frame) => queues
                    .transmit
                    .add(&[self.nic.header, frame], &[], buffer)
                    .err(),
                // An empty frame.
                None => Some(Refused(buffer)),
            };
            match refused {
                None => self.counters.sent += 1,
                Some(Refused(buffer)) => {
                    self.packets.transmitted(buffer);
                    self.counters.dropped += 1;
                }
            }
        }
        moved
    }

    /// Without a device, frames are lost as on a cable that is cut, and the stack does not wait for them.
    fn drop_frames(&mut self, report: &mut impl FnMut(Report)) -> bool {
        let mut moved = false;
        while let Some((buffer, _)) =
            said(self.packets.next_transmit(), &mut self.stack_failed, report)
        {
            self.packets.transmitted(buffer);
            self.counters.dropped += 1;
            moved = true;
        }
        moved
    }

    /// Asks both sides to say when there is more to do; `false` if there is already.
    fn sleep(&mut self) -> bool {
        let buffers = self.packets.layout().buffers();
        let Some(queues) = &mut self.queues else {
            return self.packets.sleep(false);
        };
        // Below this number of frames under way the stack has buffers left, and does not wait for these.
        // A stack that starts over waits for all.
        let enough = match self.packets.awaits_frames() {
            true => 0,
            false => buffers.min(IN_FLIGHT) / 2,
        };
        let outstanding = queues.transmit.outstanding();
        let sent = if outstanding < enough {
            queues.transmit.doze();
            true
        } else {
            queues
                .transmit
                .sleep((outstanding - outstanding / 4) as u16)
        };
        let short = queues.receive.outstanding() < buffers.min(DESCRIPTORS) / 2;
        sent && queues.receive.sleep(1) && self.packets.sleep(short)
    }

    /// Resets a device that misbehaved and sets it up anew, or gives it up.
    fn recover(&mut self, misbehaviour: Misbehaviour, report: &mut impl FnMut(Report)) {
        let quiet = self.nic.transport.reset();
        if let Some(queues) = self.queues.take() {
            self.spare.extend(queues.receive.drain());
            for buffer in queues.transmit.drain() {
                self.packets.transmitted(buffer);
                self.counters.dropped += 1;
            }
        }
        self.good = 0;
        self.resets += 1;
        self.counters.resets += 1;
        if quiet.is_ok() && self.resets <= MAX_RESETS {
            self.queues = self.nic.set_up().ok();
        }
        if self.queues.is_some() {
            report(Report::Recovered(misbehaviour));
            // The reset has cleared the interrupt that would have signalled a change of the link.
            self.follow_link(report);
        } else {
            self.nic.transport.set_status(DeviceStatus::FAILED);
            report(Report::GivenUp(misbehaviour));
            self.link.up = false;
            self.publish_link();
        }
    }

    fn publish_link(&mut self) {
        let room = self
            .packets
            .layout()
            .frame_size()
            .saturating_sub(ETHERNET_HEADER);
        let mtu = self.link.mtu.min(u16::try_from(room).unwrap_or(u16::MAX));
        self.packets.set_link(Link { mtu, ..self.link });
    }
}

/// What the stack gave; that it misbehaved is said once.
fn said<B>(
    given: Result<Option<B>, PeerMisbehaved>,
    failed: &mut bool,
    report: &mut impl FnMut(Report),
) -> Option<B> {
    given.unwrap_or_else(|misbehaved| {
        if !core::mem::replace(failed, true) {
            report(Report::Stack(misbehaved));
        }
        None
    })
}
