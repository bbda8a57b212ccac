//! One end of a channel whose peer writes anything into every word that it shares, at every moment.
//!
//! Input: a byte that chooses the end, then the script for it (see `channel::testing::hostile`).
#![no_main]

use channel::testing::hostile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, script)) = input.split_first() else {
        return;
    };
    match choice % 6 {
        0 => hostile::streams_provider(script),
        1 => hostile::streams_consumer(script),
        2 => hostile::packets_driver(script),
        3 => hostile::packets_stack(script),
        4 => hostile::log_reader(script),
        _ => hostile::log_writer(script),
    }
});
