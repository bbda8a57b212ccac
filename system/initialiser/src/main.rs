//! The root task on pc99: sets the described system up, starts it, gives up what it holds, and stops for ever.
//!
//! The builder appends the specification (crate `initialiser-spec`) and its data pages to this program's image. The
//! initialiser carries it out: memory at fixed addresses first, then the objects of each protection domain (PD), their
//! paging structures, the regions, the capabilities, and last the threads. No PD runs before all is done, since the
//! initialiser has the highest priority.
//!
//! It must never go on after an error: a system that is set up in part is not the described one. It says on the
//! serial port what failed and for which PD or region, and stops; so the machine stands still with the reason in sight.
//!
//! Data pages are not copied: the frames that the kernel loaded them into are taken out of this address space and
//! mapped in the PD's. What cannot be handed over so is copied, and wiped here.
//!
//! seL4 5.0.0 has no NX bit: what a PD may read it may execute. The permission to write is exactly the described one.
#![no_std]
#![no_main]

mod domains;
mod failure;
mod grants;
mod machine;
mod regions;
mod retire;
mod serial;

use core::arch::{asm, global_asm};
use core::fmt;

use initialiser_spec::Spec;
use sel4::pc99::root::BootInfo;
use sel4::{IpcBuffer, debug_put_char};

use crate::failure::Failure;
use crate::machine::{Blocks, Machine};

/// The deepest that this program goes: the table of untyped blocks lies on the stack (20 KiB).
const STACK: usize = 64 * 1024;

global_asm!(
    ".pushsection .bss.stack, \"aw\", @nobits",
    ".balign 16",
    "stack: .skip {size}",
    ".popsection",
    ".pushsection .text._start, \"ax\", @progbits",
    ".globl _start",
    "_start:",
    // The kernel gives the address of the boot information in rdi, and no stack.
    "lea rsp, [rip + stack + {size}]",
    "xor ebp, ebp",
    "call {main}",
    "ud2",
    ".popsection",
    size = const STACK,
    main = sym main,
);

unsafe extern "C" {
    /// The first byte of this program's image.
    static image_start: u8;
    /// The page behind this program's image, where the builder puts the specification.
    static image_end: u8;
}

extern "C" fn main(boot: *const BootInfo) -> ! {
    let started = timestamp();
    // SAFETY: the kernel maps the boot information for as long as its capability is there, and writes it no more.
    let boot = unsafe { &*boot };
    // SAFETY: the kernel maps the IPC buffer for this thread alone; this is the only reference.
    sel4::set_ipc_buffer(unsafe { &mut *(boot.ipc_buffer as *mut IpcBuffer) });
    match start(boot, started) {
        Ok(()) => machine::stop(),
        Err(failure) => failure::halt(&failure),
    }
}

fn start(boot: &BootInfo, started: u64) -> Result<(), Failure> {
    let (image, spec) = Image::of(boot)?;
    let mut blocks = Blocks::new();
    let mut machine = Machine::new(boot, &mut blocks)?;
    machine.check_memory(&spec)?;

    let fixed = regions::frames_at_fixed_addresses(&mut machine, &spec)?;
    let domains = domains::create(&mut machine, &spec)?;
    regions::map(&mut machine, &spec, &image, &domains, fixed)?;
    let temporary = grants::give(&mut machine, &spec, &domains)?;
    domains::configure(&spec, &domains)?;
    retire::wipe_boot_module(&mut machine, boot, &image);
    domains::resume(&spec, &domains)?;
    report(&machine, &spec, boot, started);
    let slots = 1 << boot.cnode_size_bits;
    let temporary = [temporary, machine.fillers(boot)];
    retire::give_up(&spec, boot, &domains, temporary);
    retire::report(slots);
    Ok(())
}

/// This program's memory, as the kernel loaded it.
pub(crate) struct Image {
    /// The address of its first page.
    start: u64,
    /// The address of the first data page.
    data: u64,
    /// The address behind its last page.
    end: u64,
    /// The slot of its first page's frame.
    first_frame: u64,
}

impl Image {
    /// This program's memory, and the specification in it.
    fn of(boot: &BootInfo) -> Result<(Self, Spec<'static>), Failure> {
        let frames = boot.user_image_frames;
        let (start, specification) = (&raw const image_start as u64, &raw const image_end);
        let end = start + (frames.end - frames.start) * 4096;
        let length = end - specification as u64;
        // SAFETY: the kernel mapped these pages, and nothing writes them before the slice is narrowed to the
        // specification alone, below.
        let bytes = unsafe { core::slice::from_raw_parts(specification, length as usize) };
        let length = Spec::new(bytes)
            .map_err(|_| Failure::Specification)?
            .bytes();
        // SAFETY: as above; nothing ever writes the specification.
        let bytes = unsafe { core::slice::from_raw_parts(specification, length) };
        let spec = Spec::new(bytes).map_err(|_| Failure::Specification)?;
        let image = Self {
            start,
            data: (specification as u64 + length as u64).next_multiple_of(4096),
            end,
            first_frame: frames.start,
        };
        Ok((image, spec))
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.end - self.start
    }

    /// The slot of the first of `count` data pages' frames; `None` when the image has not so many.
    pub(crate) fn frames(&self, first: u64, count: u64) -> Option<u64> {
        let address = self.pages(first, count.checked_mul(4096)?)?;
        Some(self.first_frame + (address - self.start) / 4096)
    }

    /// Hands `bytes` bytes of data pages, from the beginning of one of them, to a function and wipes them afterwards;
    /// `None` when the image has not so many.
    pub(crate) fn consume<T>(
        &self,
        first: u64,
        bytes: u64,
        f: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let address = self.pages(first, bytes)?;
        // SAFETY: the kernel mapped these pages for this thread; each data page is one region's, so nothing else
        // refers to them, and only those of other regions are ever unmapped.
        let memory = unsafe { core::slice::from_raw_parts_mut(address as *mut u8, bytes as usize) };
        let result = f(memory);
        memory.fill(0);
        core::hint::black_box(memory);
        Some(result)
    }

    /// The address of data pages.
    fn pages(&self, first: u64, bytes: u64) -> Option<u64> {
        let address = self.data.checked_add(first.checked_mul(4096)?)?;
        (address.checked_add(bytes)? <= self.end).then_some(address)
    }
}

/// The processor's time stamp counter.
pub(crate) fn timestamp() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("rax") low, out("rdx") high, options(nomem, nostack)) };
    high << 32 | low
}

/// Says what was set up, on a debug kernel's console.
fn report(machine: &Machine<'_>, spec: &Spec, boot: &BootInfo, started: u64) {
    if !sel4::PRINTING {
        return;
    }
    let tsc_mhz = boot.tsc_mhz;
    let microseconds = (timestamp() - started) / tsc_mhz.max(1);
    say(format_args!(
        "{} PDs set up in {microseconds} us, {} KiB free",
        spec.domains().len(),
        machine.free() / 1024
    ));
}

/// A line on a debug kernel's console; nothing, when the kernel has none.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    struct Console;
    impl fmt::Write for Console {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            text.bytes().for_each(debug_put_char);
            Ok(())
        }
    }
    // Writing to the console cannot fail.
    let _ = fmt::Write::write_fmt(&mut Console, format_args!("initialiser: {line}\n"));
}
