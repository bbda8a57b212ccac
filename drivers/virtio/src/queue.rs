//! A queue whose device may do anything (virtio 1.2, section 2.7).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::{Error, Result};

use crate::memory::{self, Dma, Hal};
use crate::transport::Areas;
use crate::{InitError, Misbehaviour};

/// The most pieces of memory that one element has to read from, and the most to write to.
pub const MAX_PARTS: usize = 2;

type Parts = heapless::Vec<Dma, MAX_PARTS>;

/// What was not taken, given back: the queue is full, or there are no or too many parts.
#[derive(Debug)]
pub struct Refused<T>(pub T);

/// A queue of `SIZE` descriptors, a power of two up to 32768. With every element goes a `T`, which comes back with it.
///
/// Notifications go both ways only where needed: [`notify`](Self::notify) once after a batch of
/// [`add`](Self::add)s, and [`sleep`](Self::sleep) to say after how many returns to interrupt.
#[derive(Debug)]
pub struct Queue<T, const SIZE: usize> {
    /// Kilobytes, which are not to be moved over the stack.
    queue: Box<VirtQueue<Hal, SIZE>>,
    index: u16,
    /// By descriptor number: what the device has.
    outstanding: Vec<Option<Outstanding<T>>>,
    count: u16,
    /// Elements added and returned ones taken, counted modulo 2^16 as the device counts them.
    added: u16,
    taken: u16,
    /// `added` when the device was last considered for a notification.
    notified: u16,
    event_idx: bool,
    rings: Rings<SIZE>,
}

#[derive(Debug)]
struct Outstanding<T> {
    inputs: Parts,
    outputs: Parts,
    tag: T,
}

impl<T, const SIZE: usize> Queue<T, SIZE> {
    /// Sets up a queue of a device that [`negotiate`](crate::negotiate) has reset; `event_idx`: whether that
    /// feature was negotiated.
    ///
    /// # Errors
    /// [`InitError::Queue`].
    pub fn new<D: Transport + Areas>(
        transport: &mut D,
        index: u16,
        event_idx: bool,
    ) -> core::result::Result<Self, InitError> {
        // The crate is not told of event indices: it would ask for an interrupt at every element that is taken,
        // and it compares them without regard to their wrapping around. `Rings` does it instead.
        let queue = VirtQueue::new(transport, index, false, false).map(Box::new);
        let queue = queue.map_err(InitError::Queue)?;
        let rings = transport
            .areas(index)
            .and_then(|areas| Rings::new(areas.driver, areas.device))
            .ok_or(InitError::Queue(Error::InvalidParam))?;
        Ok(Self {
            queue,
            index,
            outstanding: (0..SIZE).map(|_| None).collect(),
            count: 0,
            added: 0,
            taken: 0,
            notified: 0,
            event_idx,
            rings,
        })
    }

    /// Gives the device memory to read from and memory to write to.
    ///
    /// # Errors
    /// [`Refused`] with the tag.
    pub fn add(
        &mut self,
        inputs: &[Dma],
        outputs: &[Dma],
        tag: T,
    ) -> core::result::Result<(), Refused<T>> {
        let (Ok(inputs), Ok(outputs)) = (Parts::from_slice(inputs), Parts::from_slice(outputs))
        else {
            return Err(Refused(tag));
        };
        // SAFETY: the parts are memory for transfers, which stays mapped; the element remains in
        // `outstanding` until the device returns it.
        let added = with_slices(&inputs, &outputs, |i, o| unsafe { self.queue.add(i, o) });
        match added
            .ok()
            .and_then(|token| self.outstanding.get_mut(usize::from(token)))
        {
            Some(slot) => {
                *slot = Some(Outstanding {
                    inputs,
                    outputs,
                    tag,
                })
            }
            None => return Err(Refused(tag)),
        }
        self.count += 1;
        self.added = self.added.wrapping_add(1);
        Ok(())
    }

    /// Takes the next element that the device has returned: its tag, and the bytes that the device says it
    /// wrote, which are not more than there is room for.
    ///
    /// # Errors
    /// [`Misbehaviour`]. The queue is of no more use then: reset the device and [`drain`](Self::drain).
    pub fn take(&mut self) -> core::result::Result<Option<(T, u32)>, Misbehaviour> {
        match self.returned() {
            0 => return Ok(None),
            returned if returned > self.count => return Err(Misbehaviour::UsedIndex),
            _ => {}
        }
        let token = self.rings.used_token(self.taken);
        let wrong = Misbehaviour::Token(token);
        let slot = self.outstanding.get_mut(token as usize).ok_or(wrong)?;
        let element = slot.take().ok_or(wrong)?;
        let popped = with_slices(&element.inputs, &element.outputs, |i, o| {
            // SAFETY: these are the parts with which `add` got this token. The crate reads the token a
            // second time and refuses another one.
            unsafe { self.queue.pop_used(token as u16, i, o) }
        });
        let room: usize = element.outputs.iter().map(Dma::size).sum();
        match popped {
            Ok(length) if length as usize <= room => {
                self.count -= 1;
                self.taken = self.taken.wrapping_add(1);
                Ok(Some((element.tag, length)))
            }
            other => {
                *slot = Some(element);
                Err(other.map_or(Misbehaviour::UsedIndex, Misbehaviour::Length))
            }
        }
    }

    /// Notifies the device of what was added since the last call, if it wants to know.
    pub fn notify(&mut self, transport: &mut impl Transport) -> bool {
        if self.added == self.notified {
            return false;
        }
        let since = self.added.wrapping_sub(self.notified);
        self.notified = self.added;
        // What was added must be visible before the device's wish is read (section 2.7.13.4.1).
        fence(Ordering::SeqCst);
        let wanted = if self.event_idx {
            let after = self.rings.available_event();
            self.added.wrapping_sub(after).wrapping_sub(1) < since
        } else {
            self.rings.notifications_wanted()
        };
        if wanted {
            transport.notify(self.index);
        }
        wanted
    }

    /// Asks for an interrupt after `after` more returns (at least one, at most all that are outstanding), and says
    /// whether to wait for it: `false` if so many are there already.
    pub fn sleep(&mut self, after: u16) -> bool {
        let after = after.clamp(1, self.count.max(1));
        self.ask_after(self.taken.wrapping_add(after - 1), true);
        // The wish must be visible before the returns are counted (section 2.7.10.1).
        fence(Ordering::SeqCst);
        self.returned() < after
    }

    /// Asks for no interrupt. There may be one nevertheless.
    pub fn doze(&mut self) {
        self.ask_after(self.taken.wrapping_add(u16::MAX / 2), false);
    }

    fn ask_after(&mut self, element: u16, interrupt: bool) {
        if self.event_idx {
            self.rings.set_used_event(element);
        } else {
            self.queue.set_dev_notify(interrupt);
        }
    }

    /// Descriptors that are free; an element needs one for each of its parts.
    pub fn free(&self) -> usize {
        self.queue.available_desc()
    }

    /// Elements that the device has.
    pub fn outstanding(&self) -> usize {
        self.count.into()
    }

    /// The tags of all that the device still has. Reset the device first.
    pub fn drain(self) -> impl Iterator<Item = T> {
        self.outstanding
            .into_iter()
            .flatten()
            .map(|element| element.tag)
    }

    /// Elements that the device says it has returned and that were not taken.
    fn returned(&self) -> u16 {
        self.rings.used_index().wrapping_sub(self.taken)
    }
}

/// Calls `f` with the parts in the form that the `virtio-drivers` crate wants.
fn with_slices<R>(
    inputs: &[Dma],
    outputs: &[Dma],
    f: impl for<'a> FnOnce(&'a [&'a [u8]], &'a mut [&'a mut [u8]]) -> Result<R>,
) -> Result<R> {
    let mut read: [&[u8]; MAX_PARTS] = [&[]; MAX_PARTS];
    let mut write: [&mut [u8]; MAX_PARTS] = [&mut [], &mut []];
    for (slice, part) in read.iter_mut().zip(inputs) {
        // SAFETY: the memory is mapped for good. The slices live during this call only, in which the
        // crate takes their address and length and never touches the bytes.
        *slice = unsafe { core::slice::from_raw_parts(part.pointer().as_ptr(), part.size()) };
    }
    for (slice, part) in write.iter_mut().zip(outputs) {
        // SAFETY: as above.
        *slice = unsafe { core::slice::from_raw_parts_mut(part.pointer().as_ptr(), part.size()) };
    }
    f(&read[..inputs.len()], &mut write[..outputs.len()])
}

/// The fields of the rings that are read and written here, beside the `virtio-drivers` crate.
#[derive(Debug)]
struct Rings<const SIZE: usize> {
    available: NonNull<u8>,
    used: NonNull<u8>,
}

// SAFETY: all accesses are atomic, to memory that stays mapped.
unsafe impl<const SIZE: usize> Send for Rings<SIZE> {}

impl<const SIZE: usize> Rings<SIZE> {
    /// Flags, index, an entry of 2 bytes each, event (section 2.7.6).
    const AVAILABLE_SIZE: usize = 6 + 2 * SIZE;
    /// Flags, index, an entry of 8 bytes each, event (section 2.7.8).
    const USED_SIZE: usize = 6 + 8 * SIZE;

    /// The rings at these physical addresses, which are the driver's own memory.
    fn new(available: u64, used: u64) -> Option<Self> {
        Some(Self {
            available: memory::at(available, Self::AVAILABLE_SIZE)?.pointer(),
            used: memory::at(used, Self::USED_SIZE)?.pointer(),
        })
    }

    fn used_index(&self) -> u16 {
        self.word(self.used, 2).load(Ordering::Acquire)
    }

    /// The identifier in the used ring's element number `position`.
    fn used_token(&self, position: u16) -> u32 {
        let offset = 4 + 8 * (usize::from(position) % SIZE);
        // SAFETY: the offset is inside the used ring and a multiple of 4, and the ring is aligned to a page.
        let token = unsafe { self.used.add(offset).cast::<AtomicU32>().as_ref() };
        token.load(Ordering::Relaxed)
    }

    fn available_event(&self) -> u16 {
        self.word(self.used, Self::USED_SIZE - 2)
            .load(Ordering::Acquire)
    }

    fn notifications_wanted(&self) -> bool {
        const NO_NOTIFY: u16 = 1;
        self.word(self.used, 0).load(Ordering::Acquire) & NO_NOTIFY == 0
    }

    fn set_used_event(&mut self, after: u16) {
        self.word(self.available, Self::AVAILABLE_SIZE - 2)
            .store(after, Ordering::Release);
    }

    fn word(&self, ring: NonNull<u8>, offset: usize) -> &AtomicU16 {
        // SAFETY: every caller's offset is even and inside its ring; rings are aligned to 2 bytes at least.
        unsafe { ring.add(offset).cast().as_ref() }
    }
}
