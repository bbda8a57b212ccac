//! Both ends of a log.

use std::string::String;

use super::{Attack, Guarded};
use crate::log::{CONSUMER_SIZE, Level, MAX_TEXT, PROVIDER_SIZE, Reader, Writer};
use crate::testing::Bell;

/// The flags, the index and the first few words of the ring, in bytes.
const CONTROL: usize = 256;

struct Pair {
    regions: [Guarded; 2],
    writer: Writer,
    reader: Reader,
}

fn pair() -> Pair {
    let regions = [Guarded::new(CONSUMER_SIZE), Guarded::new(PROVIDER_SIZE)];
    let (writer_own, reader_peer) = regions[0].pair();
    let (reader_own, writer_peer) = regions[1].pair();
    let writer = Writer::new(writer_own, writer_peer, Bell::default());
    let reader = Reader::new(reader_own, reader_peer);
    match (writer, reader) {
        (Ok(writer), Ok(reader)) => Pair {
            regions,
            writer,
            reader,
        },
        _ => unreachable!("the regions have the sizes that are asked for"),
    }
}

/// A reader whose writer is hostile.
pub fn log_reader(script: &[u8]) {
    let Pair {
        regions,
        mut writer,
        mut reader,
    } = pair();
    let attack = Attack::new(script, &regions[0], CONTROL);
    attack.run(|| {
        let mut text = String::new();
        while attack.goes_on() {
            writer.write(Level::Error, 1, &"line".repeat(attack.number() / 4));
            match attack.victim(|| reader.next(&mut text)) {
                // Each byte that is no UTF-8 becomes three.
                Ok(Some(_)) => assert!(text.len() <= 3 * MAX_TEXT),
                Ok(None) => {
                    attack.victim(|| reader.sleep());
                }
                Err(misbehaved) => {
                    assert_eq!(attack.victim(|| reader.next(&mut text)), Err(misbehaved));
                    assert!(attack.victim(|| reader.sleep()));
                }
            }
        }
    });
    regions.into_iter().for_each(Guarded::check);
}

/// A writer whose reader is hostile.
pub fn log_writer(script: &[u8]) {
    let Pair {
        regions,
        mut writer,
        mut reader,
    } = pair();
    let attack = Attack::new(script, &regions[1], PROVIDER_SIZE);
    attack.run(|| {
        let mut text = String::new();
        while attack.goes_on() {
            let line = "line".repeat(attack.number() / 4);
            attack.victim(|| writer.write(Level::Debug, 2, &line));
            // The reader is cheated through the writer, and may well complain.
            let _ = reader.next(&mut text);
        }
    });
    regions.into_iter().for_each(Guarded::check);
}
