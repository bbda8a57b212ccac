//! Does what a protection domain (PD) must not, for the isolation tests: each time one thing, which its configuration
//! names. The kernel must stop it at that, the supervisor must name it, and the other PDs must go on.
//!
//! It says in the log what it is about to do, and, should it get through, that it did: a test fails on that line.
#![no_std]
#![no_main]

mod processor;

use core::hint::black_box;

use pd::{error, info};
use sel4_microkit::{Handler, NullHandler, protection_domain};

/// The capability that the kernel sends this PD's faults through, in Microkit's layout.
const FAULT_ENDPOINT: sel4::cap::Endpoint = sel4::cap::Endpoint::from_bits(2);
/// A capability pointer outside every PD's table.
const NOWHERE: sel4::cap::Endpoint = sel4::cap::Endpoint::from_bits(1 << 20);

#[protection_domain]
fn init() -> impl Handler {
    let wiring = pd::wiring();
    let attack = wiring.text("attack").unwrap_or("none");
    let address = wiring.text("address").ok().and_then(parse).unwrap_or(0);
    info!("attack: {attack}");
    match attack {
        "read" => read(address),
        "write" => write(address),
        "code" => write(write as *const () as u64),
        "null" => processor::jump(0),
        "stack" => drop(black_box(recurse(1))),
        "undefined" => processor::undefined(),
        "privileged" => processor::privileged(),
        "divide" => processor::divide(),
        "capability" => use_missing_capability(),
        "forge" => forge(),
        "panic" => panic!("told to panic"),
        _ => return NullHandler::new(),
    }
    error!("attack succeeded: {attack}");
    NullHandler::new()
}

fn parse(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[inline(never)]
fn read(address: u64) {
    // SAFETY: none: whether the kernel stops it is the question. In a system that is right it does.
    let value = unsafe { (address as *const u8).read_volatile() };
    error!("read {value:#x} at {address:#x}");
}

#[inline(never)]
fn write(address: u64) {
    // SAFETY: as in `read`.
    unsafe { (address as *mut u8).write_volatile(0xcc) };
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if frame[0] == u64::MAX {
        return 0;
    }
    black_box(recurse(black_box(depth + 1)) + frame[63])
}

#[inline(never)]
fn use_missing_capability() {
    NOWHERE.send(sel4::MessageInfo::new(0, 0, 0, 0));
}

/// Sends what looks like a fault at an address of its choice.
#[inline(never)]
fn forge() {
    const MEMORY_FAULT: u64 = 5;
    sel4::with_ipc_buffer_mut(|buffer| {
        buffer.msg_regs_mut()[..4].copy_from_slice(&[0x1234, 0x5678, 0, 0])
    });
    FAULT_ENDPOINT.send(sel4::MessageInfo::new(MEMORY_FAULT, 0, 0, 4));
}
