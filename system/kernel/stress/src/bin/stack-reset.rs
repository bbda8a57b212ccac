//! Interrupts that arrive while the kernel makes and revokes objects do it no harm.
//!
//! The kernel takes no interrupts while it works. It handles those that came meanwhile on its way back to the
//! user, the second one on a stack that it starts anew. Two fast timers and almost nothing but long system calls
//! make many pairs of interrupts. What a stack at a wrong place overwrites depends on the compiler; with the usual
//! one it is a part of the interrupt descriptor table, so the timers' vectors walk through all of that.
#![no_std]
#![no_main]

use kernel_stress::{
    BootInfo, Memory, ObjectType, Slot, delete, fail, in8, invoke, mint, out8, pass, poll, print,
    revoke, slots,
};

/// Rounds with interrupts of both timers for each pair of vectors.
const ROUNDS: u64 = 20;

/// Vectors that the kernel leaves to the user.
const VECTORS: u64 = 108;

/// Objects a round, as many as the kernel makes in one call: making, deleting and clearing them takes longer than
/// the periods of the timers.
const OBJECTS: u64 = 256;

/// The root task.
#[unsafe(no_mangle)]
extern "C" fn main(info: &BootInfo) -> ! {
    match check(info) {
        Ok(rounds) => pass(format_args!("survived {rounds} rounds")),
        Err(error) => fail(format_args!("the kernel refused something: error {error}")),
    }
}

fn check(info: &BootInfo) -> Result<u64, u64> {
    let mut memory = Memory::new(info);
    let objects = memory.slots(OBJECTS);
    let notification = memory.object(ObjectType::Notification)?;
    let timers = [Pit::BADGE, Rtc::BADGE].map(|badge| Timer {
        handler: memory.slots(1),
        signal: memory.slots(1),
        badge,
    });
    for timer in &timers {
        mint(notification, timer.signal, timer.badge)?;
    }
    Pit::start();
    Rtc::start();

    let mut total = 0;
    for vector in (0..VECTORS).step_by(2) {
        timers[0].claim(Pit::PIN, vector)?;
        timers[1].claim(Rtc::PIN, vector + 1)?;
        Rtc::acknowledge();
        let mut rounds = 0;
        while rounds < ROUNDS {
            Memory::retype(memory.spare, ObjectType::Frame, objects, OBJECTS)?;
            revoke(memory.spare)?;
            total += 1;
            let signals = poll(notification);
            for timer in timers.iter().filter(|timer| signals & timer.badge != 0) {
                timer.acknowledge()?;
            }
            if signals & Rtc::BADGE != 0 {
                Rtc::acknowledge();
            }
            rounds += u64::from(signals == Pit::BADGE | Rtc::BADGE);
        }
        for timer in &timers {
            delete(timer.handler)?;
        }
        print(format_args!("vectors {vector} and {}", vector + 1));
    }
    Ok(total)
}

/// The capabilities of a timer's interrupt.
struct Timer {
    handler: Slot,
    signal: Slot,
    badge: u64,
}

impl Timer {
    /// Receives an edge-triggered pin of the IOAPIC under a vector.
    fn claim(&self, pin: u64, vector: u64) -> Result<(), u64> {
        const IRQ_SET_NOTIFICATION: u64 = 25;
        const IRQ_ISSUE_IOAPIC: u64 = 50;
        const DEPTH: u64 = 64;
        const IOAPIC: u64 = 0;
        const EDGE: u64 = 0;
        const ACTIVE_HIGH: u64 = 0;
        let arguments = [self.handler, DEPTH, IOAPIC, pin, EDGE, ACTIVE_HIGH, vector];
        invoke(
            slots::IRQ_CONTROL,
            IRQ_ISSUE_IOAPIC,
            &[slots::CNODE],
            &arguments,
        )?;
        invoke(self.handler, IRQ_SET_NOTIFICATION, &[self.signal], &[])?;
        // One that came between the two calls was signalled to nobody, and the kernel lets no other through.
        self.acknowledge()
    }

    fn acknowledge(&self) -> Result<(), u64> {
        const IRQ_ACK: u64 = 24;
        invoke(self.handler, IRQ_ACK, &[], &[]).map(drop)
    }
}

/// The programmable interval timer (Intel 8254).
struct Pit;

impl Pit {
    const BADGE: u64 = 1;
    /// PCs have it at this pin.
    const PIN: u64 = 2;

    /// Starts it with about 4 kHz.
    fn start() {
        const COMMAND: u64 = 0x43;
        const CHANNEL_0: u64 = 0x40;
        /// Channel 0, both bytes of the divisor, rate generator.
        const MODE: u64 = 0x34;
        /// Of the clock, 1193182 Hz.
        const DIVISOR: u64 = 298;
        out8(COMMAND, MODE);
        out8(CHANNEL_0, DIVISOR & 0xff);
        out8(CHANNEL_0, DIVISOR >> 8);
    }
}

/// The periodic interrupt of the real-time clock (Motorola MC146818).
struct Rtc;

impl Rtc {
    const BADGE: u64 = 2;
    const PIN: u64 = 8;
    const INDEX: u64 = 0x70;
    const DATA: u64 = 0x71;

    /// Starts it with 8192 Hz.
    fn start() {
        const REGISTER_A: u64 = 0x0a;
        const REGISTER_B: u64 = 0x0b;
        /// Divider 010 (32768 Hz), rate 0011.
        const RATE: u64 = 0x23;
        const PERIODIC: u64 = 0x40;
        const HOURS_24: u64 = 0x02;
        for (register, value) in [(REGISTER_A, RATE), (REGISTER_B, PERIODIC | HOURS_24)] {
            out8(Self::INDEX, register);
            out8(Self::DATA, value);
        }
    }

    /// Reading register C lets the clock interrupt again. The IOAPIC ignores what comes before the kernel
    /// lets the pin through.
    fn acknowledge() {
        const REGISTER_C: u64 = 0x0c;
        out8(Self::INDEX, REGISTER_C);
        in8(Self::DATA);
    }
}
