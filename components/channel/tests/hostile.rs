//! A peer that writes arbitrary words at every moment: no panic, no access out of bounds, no endless loop.
#![cfg(not(loom))]

use channel::testing::hostile;
use proptest::collection::vec;
use proptest::prelude::*;

/// Scripts of bytes that are mostly arbitrary, with attacks from rare to constant.
fn scripts() -> impl Strategy<Value = Vec<u8>> {
    let rate = prop_oneof![Just(0), Just(1), 1..16u8, any::<u8>()];
    (rate, vec(any::<u8>(), 0..6000)).prop_map(|(rate, mut script)| {
        script.insert(0, rate);
        script
    })
}

macro_rules! survives {
    ($($endpoint:ident),*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $endpoint(script in scripts()) {
                    hostile::$endpoint(&script);
                }
            )*
        }
    };
}

survives!(
    streams_provider,
    streams_consumer,
    packets_driver,
    packets_stack,
    log_reader,
    log_writer
);
