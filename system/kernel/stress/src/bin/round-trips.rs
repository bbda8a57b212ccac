//! Counts the instructions of round trips between two threads.
//!
//! QEMU must run with `-icount shift=0`: then the time stamp counter counts instructions.
#![no_std]
#![no_main]

use core::arch::x86_64::_rdtsc;

use kernel_stress::{
    BootInfo, Memory, Message, ObjectType, Thread, call, fail, pass, print, recv, reply_recv, send,
    set_priority, slots,
};

/// Round trips of which the average is taken, after as many that are not counted.
const ROUND_TRIPS: u64 = 1000;

const OWN_PRIORITY: u64 = 100;

/// The root task.
#[unsafe(no_mangle)]
extern "C" fn main(info: &BootInfo) -> ! {
    match measure(info) {
        Ok(()) => pass(format_args!("{ROUND_TRIPS} round trips each")),
        Err(error) => fail(format_args!("the kernel refused something: error {error}")),
    }
}

fn measure(info: &BootInfo) -> Result<(), u64> {
    let mut memory = Memory::new(info);
    let thread = Thread::new(&mut memory)?;
    set_priority(slots::THREAD, OWN_PRIORITY)?;
    for (name, priority) in [
        ("call, equal priority", OWN_PRIORITY),
        ("call, higher priority", OWN_PRIORITY + 1),
    ] {
        thread.set_priority(priority)?;
        thread.run(serve, [thread.endpoint, 0])?;
        count(name, || {
            call(thread.endpoint, Message::default());
        });
    }

    let there = memory.object(ObjectType::Notification)?;
    let back = memory.object(ObjectType::Notification)?;
    for (name, priority) in [
        ("signal, equal priority", OWN_PRIORITY),
        ("signal, higher priority", OWN_PRIORITY + 1),
    ] {
        thread.set_priority(priority)?;
        thread.run(echo, [there, back])?;
        count(name, || {
            send(there, Message::default());
            recv(back);
        });
    }
    Ok(())
}

fn count(name: &str, round_trip: impl Fn()) {
    // The first ones start the thread.
    for _ in 0..ROUND_TRIPS {
        round_trip();
    }
    // SAFETY: every processor that this kernel runs on has a time stamp counter, and the kernel lets the user read it.
    let start = unsafe { _rdtsc() };
    for _ in 0..ROUND_TRIPS {
        round_trip();
    }
    // SAFETY: as above.
    let instructions = unsafe { _rdtsc() } - start;
    print(format_args!("{name}: {}", instructions / ROUND_TRIPS));
}

/// A server: answers calls.
extern "C" fn serve(endpoint: u64, _: u64) -> ! {
    recv(endpoint);
    loop {
        reply_recv(endpoint, Message::default());
    }
}

/// Sends signals back.
extern "C" fn echo(there: u64, back: u64) -> ! {
    loop {
        recv(there);
        send(back, Message::default());
    }
}
