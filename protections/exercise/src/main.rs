//! Exercises runtime and initialiser, on every board; the tests boot two of these and read what the first one writes.
//!
//! The *caller* looks at the regions that the description gives it: their content must be that of the files. It checks
//! the functions that stand in for a C library's.
//!
//! It then calls the *server* (higher priority; passive where the board's kernel knows that) and checks every answer, then
//! plays ping-pong with it by notifications that are deferred to the next receive, and writes each result to the serial
//! port. Their channel is 0 at the caller and 1 at the server, whose `setvar_id` sets `exercise_role`: so the role is the
//! channel. It never polls: the next ping goes out when the pong came.
#![no_std]
#![no_main]

mod memory;
mod serial;

use core::fmt::{self, Write};
use core::slice;

use sel4_microkit::{
    Channel, ChannelSet, DeferredAction, DeferredActionSlot, Handler, Infallible, MessageInfo,
    get_mr, pd_name, protection_domain, set_mr, var, with_msg_bytes, with_msg_bytes_mut,
};

use crate::serial::Serial;

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
        deferred: DeferredActionSlot::new(),
    };
    if exercise.caller {
        let name = pd_name().unwrap_or("?");
        let mut serial = Serial::find();
        for region in regions() {
            let _ = writeln!(serial, "{name}: {}", region.verdict());
        }
        let _ = writeln!(
            serial,
            "{name}: copies and fills, {} wrong",
            memory::wrong()
        );
        let wrong = wrong_answers(exercise.peer);
        let _ = writeln!(serial, "{name}: {ROUNDS} calls, {wrong} wrong");
        exercise.peer.notify();
    }
    exercise
}

struct Exercise {
    peer: Channel,
    caller: bool,
    pongs: u64,
    deferred: DeferredActionSlot,
}

impl Handler for Exercise {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if !channels.contains(self.peer) {
            return Ok(());
        }
        self.pongs += 1;
        if !self.caller || self.pongs < ROUNDS {
            // The slot is empty: the last action was taken before this notification came. And a signal cannot fail.
            let _ = self.deferred.defer_notify(self.peer);
        } else {
            let _ = writeln!(Serial::find(), "caller: {ROUNDS} notifications each way");
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

    fn take_deferred_action(&mut self) -> Option<DeferredAction> {
        self.deferred.take()
    }
}

/// A region that the description fills from a file, in which byte n is 7 n + 3 (modulo 256).
struct Region {
    name: &'static str,
    address: usize,
    size: usize,
    content: usize,
}

/// The regions that this system has, of three kinds that the initialiser fills in different ways.
fn regions() -> impl Iterator<Item = Region> {
    macro_rules! region {
        ($name:literal, $address:ident, $size:ident, $content:ident) => {
            Region {
                name: $name,
                address: *var!($address: usize = 0),
                size: *var!($size: usize = 0),
                content: *var!($content: usize = 0),
            }
        };
    }
    [
        region!("small", small_address, small_size, small_content),
        region!("fixed", fixed_address, fixed_size, fixed_content),
        region!("large", large_address, large_size, large_content),
    ]
    .into_iter()
    .filter(|region| region.address != 0)
}

impl Region {
    fn verdict(&self) -> Verdict {
        // SAFETY: the description maps the region readable at this address and nobody writes it.
        let bytes = unsafe { slice::from_raw_parts(self.address as *const u8, self.size) };
        let (content, rest) = bytes.split_at(self.content);
        let expected = |(n, byte): (usize, &u8)| *byte == (7 * n + 3) as u8;
        Verdict {
            name: self.name,
            content: content
                .iter()
                .enumerate()
                .filter(|pair| expected(*pair))
                .count(),
            zeros: rest.iter().filter(|byte| **byte == 0).count(),
        }
    }
}

struct Verdict {
    name: &'static str,
    content: usize,
    zeros: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            content,
            zeros,
        } = self;
        write!(
            f,
            "region {name}: {content} bytes of content, {zeros} zeros"
        )
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
