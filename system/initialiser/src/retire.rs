//! Giving up what the initialiser holds, once the system stands.
//!
//! What stays are capabilities that keep something alive and that nobody can use any more, since the one thread
//! that reaches this table stops for ever: frames and paging structures (a mapping ends with its capability), the pool
//! of address space identifiers, and threads without a parent.

use initialiser_spec::Spec;
use sel4::WORD_SIZE;
use sel4::pc99::root::{BootInfo, debug_cap_identify, initial};

use crate::Image;
use crate::domains::Domains;
use crate::machine::Machine;
use crate::say;

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

/// Deletes every capability that no running PD depends on. `temporary`: those that were made beside the PDs' objects.
pub(crate) fn give_up(
    spec: &Spec<'static>,
    boot: &BootInfo,
    domains: &Domains,
    temporary: [core::ops::Range<u64>; 2],
) {
    let untyped = boot.untyped;
    let children = (0..)
        .zip(spec.domains())
        .filter(|(_, domain)| domain.has_parent)
        .map(|(index, _)| domains.thread(index).bits());
    children
        .chain(domains.temporary().into_iter().flatten())
        .chain(temporary.into_iter().flatten())
        .chain(untyped.start..untyped.end)
        .for_each(delete);
    // The boot information goes with its capability; it is not read from here on.
    (1..initial::FIRST_FREE)
        .filter(|slot| !KEPT.contains(slot))
        .for_each(delete);
}

/// Says how many capabilities of which kind are left, on a debug kernel's console. It is the kernel that tells the kinds,
/// slot by slot: nothing of what this program believes goes into it.
pub(crate) fn report(slots: u64) {
    let mut left = [0_u32; KINDS.len()];
    for slot in 0..slots {
        let Some(kind) = debug_cap_identify(slot) else {
            return;
        };
        // The first stands for kinds that have no name here.
        let named = KINDS.iter().position(|&(number, _)| number == kind);
        left[named.unwrap_or(0)] += 1;
    }
    for ((number, name), count) in KINDS.into_iter().zip(left) {
        if number != EMPTY && count > 0 {
            say(format_args!("left: {count} {name}"));
        }
    }
    say(format_args!("left: nothing else"));
}

/// The kernel's number of an empty slot.
const EMPTY: u64 = 0;

/// Kinds of capabilities by the kernel's numbers.
const KINDS: [(u64, &str); 17] = [
    (u64::MAX, "of another kind"),
    (EMPTY, "empty slot"),
    (1, "frame"),
    (2, "untyped"),
    (3, "page table"),
    (4, "endpoint"),
    (5, "page directory"),
    (6, "notification"),
    (7, "page directory pointer table"),
    (9, "address space"),
    (10, "table"),
    (11, "identifier control"),
    (12, "thread"),
    (13, "identifier pool"),
    (14, "interrupt control"),
    (16, "interrupt"),
    (19, "I/O ports"),
];

/// Deleting from the root table fails only for a slot that is none.
fn delete(slot: u64) {
    let _ = initial::CNODE.delete(slot, WORD_SIZE as u8);
}
