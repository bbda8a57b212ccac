//! Waits for a signal that nobody sends: what remains is what the kernel itself costs.
#![no_std]
#![no_main]

use kernel_stress::{BootInfo, Memory, ObjectType, fail, print, recv};

/// The root task.
#[unsafe(no_mangle)]
extern "C" fn main(info: &BootInfo) -> ! {
    match Memory::new(info).object(ObjectType::Notification) {
        Ok(notification) => {
            print(format_args!("waiting"));
            recv(notification);
            fail(format_args!("there was a signal"))
        }
        Err(error) => fail(format_args!("the kernel refused something: error {error}")),
    }
}
