//! Exercises the runtime on a kernel; the tests boot two of these and read what the first one writes.
//!
//! The *caller* calls the *server* (higher priority) and checks every answer, then plays ping-pong with it by notifications, and writes each result to the serial port, whose I/O
//! ports are range 0. Their channel is 0 at the caller and 1 at the server, whose `setvar_id` sets `exercise_role`: so
//! the role is the channel. It never polls: the next ping goes out when the pong came.
#![no_std]
#![no_main]

use core::fmt::{self, Write};

use sel4_microkit::ioport::IoPort;
use sel4_microkit::{
    Channel, ChannelSet, Handler, Infallible, MessageInfo, get_mr, pd_name, protection_domain,
    set_mr, var, with_msg_bytes, with_msg_bytes_mut,
};

const ROUNDS: u64 = 1000;
/// Longer than what fits the processor's registers, so that the IPC buffer is used.
const WORDS: usize = 64;

#[protection_domain]
fn init() -> Exercise {
    let role = *var!(exercise_role: usize = 0);
    let exercise = Exercise {
        peer: Channel::new(role),
        caller: role == 0,
        pongs: 0,
    };
    if exercise.caller {
        let name = pd_name().unwrap_or("?");
        let wrong = wrong_answers(exercise.peer);
        let _ = writeln!(Serial, "{name}: {ROUNDS} calls, {wrong} wrong");
        exercise.peer.notify();
    }
    exercise
}

struct Exercise {
    peer: Channel,
    caller: bool,
    pongs: u64,
}

impl Handler for Exercise {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if !channels.contains(self.peer) {
            return Ok(());
        }
        self.pongs += 1;
        if !self.caller || self.pongs < ROUNDS {
            self.peer.notify();
        } else {
            let _ = writeln!(Serial, "caller: {ROUNDS} notifications each way");
        }
        Ok(())
    }

    /// Adds the round to every byte of the message.
    fn protected(&mut self, _: Channel, message: MessageInfo) -> Result<MessageInfo, Infallible> {
        with_msg_bytes_mut(|bytes| {
            for byte in &mut bytes[..message.count() * 8] {
                *byte = byte.wrapping_add(message.label() as u8);
            }
        });
        Ok(MessageInfo::new(message.label() + 1, message.count()))
    }
}

/// Calls the server with messages of all lengths.
fn wrong_answers(server: Channel) -> u64 {
    (0..ROUNDS)
        .filter(|round| !answers_right(server, *round))
        .count() as u64
}

fn answers_right(server: Channel, round: u64) -> bool {
    let words = round as usize % (WORDS + 1);
    for word in 0..words {
        set_mr(word, round << 32 | word as u64);
    }
    let answer = server.pp_call(MessageInfo::new(round, words));
    let expected = |word: usize| {
        (round << 32 | word as u64)
            .to_le_bytes()
            .map(|byte| byte.wrapping_add(round as u8))
    };
    answer.label() == round + 1
        && answer.count() == words
        && (0..words).all(|word| get_mr(word).to_le_bytes() == expected(word))
        && with_msg_bytes(|bytes| words == 0 || bytes[..8] == expected(0))
}

/// COM1 (16550: data register 0, line status register 5, whose bit 5 says that a byte may be written).
struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const PORTS: IoPort = IoPort::new(0);
        for byte in text.bytes() {
            while PORTS.read_8(0x3fd) & 0x20 == 0 {}
            PORTS.write_8(0x3f8, byte);
        }
        Ok(())
    }
}
