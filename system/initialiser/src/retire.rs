//! Giving up what the initialiser holds, once the system stands.
//!
//! What stays are capabilities that keep something alive and that nobody can use any more, since the one thread
//! that reaches this table stops for ever: frames and paging structures (a mapping ends with its capability), the pool
//! of address space identifiers, and threads without a parent.

use initialiser_spec::Spec;
use sel4::WORD_SIZE;
use sel4::pc99::root::{BootInfo, initial};

use crate::Image;
use crate::domains::Domains;
use crate::machine::Machine;

/// Of the initial capabilities these stay: thread, table, identifier pool, IPC buffer. The last one is needed for
/// the calls that delete the others.
const KEPT: [u64; 4] = [1, 2, 6, 10];

/// Zeroes the memory behind this image, where the boot loader put the module and the kernel unpacked it for a while:
/// both hold what the data pages held.
///
/// The module begins right behind the kernel, where this image lies now, and the unpacked copy begins right behind the
/// module; so both end within twice the image's size behind it, and the kernel's alignment.
pub(crate) fn wipe_boot_module(machine: &mut Machine<'_>, boot: &BootInfo, image: &Image) {
    const SLACK: u64 = 1 << 20;
    let last = sel4::cap::Frame::from_bits(boot.user_image_frames.end - 1);
    if let Ok(physical) = last.frame_get_address() {
        let end = physical + 4096;
        machine.zero(end..end + 2 * image.size() + SLACK);
    }
}

/// Deletes every capability that no running PD depends on.
pub(crate) fn give_up(
    spec: &Spec<'static>,
    boot: &BootInfo,
    domains: &Domains,
    temporary: core::ops::Range<u64>,
) {
    let untyped = boot.untyped;
    let children = (0..)
        .zip(spec.domains())
        .filter(|(_, domain)| domain.has_parent)
        .map(|(index, _)| domains.thread(index).bits());
    children
        .chain(domains.temporary().into_iter().flatten())
        .chain(temporary)
        .chain(untyped.start..untyped.end)
        .for_each(delete);
    // The boot information goes with its capability; it is not read from here on.
    (1..initial::FIRST_FREE)
        .filter(|slot| !KEPT.contains(slot))
        .for_each(delete);
}

/// Deleting from the root table fails only for a slot that is none.
fn delete(slot: u64) {
    let _ = initial::CNODE.delete(slot, WORD_SIZE as u8);
}
