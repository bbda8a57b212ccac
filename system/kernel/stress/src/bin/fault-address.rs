//! A page fault is reported with the whole address.
#![no_std]
#![no_main]

use kernel_stress::{BootInfo, Fault, Memory, Thread, fail, pass};

/// Addresses that nothing is mapped at, all with bits set beyond the 32nd.
const ADDRESSES: [u64; 3] = [0x1_0000_0000, 0x1234_5678_9ab0, 0x7fff_ffff_dff8];

/// The root task.
#[unsafe(no_mangle)]
extern "C" fn main(info: &BootInfo) -> ! {
    match check(info) {
        Ok(()) => pass(format_args!("faults have 64-bit addresses")),
        Err(error) => fail(format_args!("the kernel refused something: error {error}")),
    }
}

fn check(info: &BootInfo) -> Result<(), u64> {
    let mut memory = Memory::new(info);
    let thread = Thread::new(&mut memory)?;
    for address in ADDRESSES {
        let outcome = thread.read(address)?;
        if outcome != Err(Fault { address }) {
            fail(format_args!("reading {address:#x} gave {outcome:x?}"));
        }
    }
    Ok(())
}
