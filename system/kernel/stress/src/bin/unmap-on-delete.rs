//! Deleting the capability that a page was mapped with takes the page away, even if the frame has other
//! capabilities.
#![no_std]
#![no_main]

use kernel_stress::{BootInfo, Memory, ObjectType, Thread, copy, delete, fail, map, pass};

/// Two pages that nothing else of the root task is near.
const FIRST_VIEW: u64 = 0x10_0000_0000;
const SECOND_VIEW: u64 = FIRST_VIEW + 0x1000;

const VALUE: u64 = 0x5e1f_ed00_c0de;

/// The root task.
#[unsafe(no_mangle)]
extern "C" fn main(info: &BootInfo) -> ! {
    match check(info) {
        Ok(()) => pass(format_args!("the page went with its capability")),
        Err(error) => fail(format_args!("the kernel refused something: error {error}")),
    }
}

fn check(info: &BootInfo) -> Result<(), u64> {
    let mut memory = Memory::new(info);
    memory.prepare(FIRST_VIEW)?;
    let first = memory.object(ObjectType::Frame)?;
    let second = memory.slots(1);
    copy(first, second)?;
    map(first, FIRST_VIEW)?;
    map(second, SECOND_VIEW)?;
    // SAFETY: a frame was just mapped there, for writing, and nothing else knows of it.
    unsafe { (FIRST_VIEW as *mut u64).write_volatile(VALUE) };

    let thread = Thread::new(&mut memory)?;
    if thread.read(SECOND_VIEW)? != Ok(VALUE) {
        fail(format_args!("the second view shows another frame"));
    }
    delete(second)?;
    if let Ok(value) = thread.read(SECOND_VIEW)? {
        fail(format_args!(
            "{value:#x} can still be read without a capability"
        ));
    }
    if thread.read(FIRST_VIEW)? != Ok(VALUE) {
        fail(format_args!(
            "the first view went with the second's capability"
        ));
    }
    Ok(())
}
