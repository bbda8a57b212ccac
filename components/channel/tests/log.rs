//! Both ends of a `log` connection against each other.
#![cfg(not(loom))]

use channel::log::{CONSUMER_SIZE, Level, Line, MAX_TEXT, PROVIDER_SIZE, Reader, Writer};
use channel::testing::{Bell, region_pair};

fn pair() -> (Writer, Reader, Bell) {
    let (writer_own, reader_peer) = region_pair(CONSUMER_SIZE);
    let (reader_own, writer_peer) = region_pair(PROVIDER_SIZE);
    let bell = Bell::default();
    let writer = Writer::new(writer_own, writer_peer, bell.clone()).unwrap();
    (writer, Reader::new(reader_own, reader_peer).unwrap(), bell)
}

#[test]
fn lines_arrive_with_time_and_level() {
    let (mut writer, mut reader, bell) = pair();
    let mut text = String::new();
    assert_eq!(reader.next(&mut text), Ok(None));
    assert!(reader.sleep());
    for (time, line) in ["", "ready", "größer als acht Bytes"].iter().enumerate() {
        writer.write(Level::Information, time as u64, line);
        let read = reader.next(&mut text).unwrap().unwrap();
        assert_eq!(text, *line);
        assert_eq!(
            read,
            Line {
                time: time as u64,
                level: Level::Information,
                lost: 0
            }
        );
    }
    assert_eq!(bell.take(), 1, "the reader was awake after the first");
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let (mut writer, mut reader, _) = pair();
    writer.write(Level::Debug, 0, &"ä".repeat(MAX_TEXT).replacen('ä', "a", 1));
    let mut text = String::new();
    reader.next(&mut text).unwrap().unwrap();
    assert_eq!(text.len(), MAX_TEXT - 1);
}

#[test]
fn lost_lines_are_counted_and_said() {
    let (mut writer, mut reader, _) = pair();
    let mut text = String::new();
    for _ in 0..20 {
        writer.write(Level::Warning, 0, &"x".repeat(MAX_TEXT));
    }
    let mut lines = 0;
    while reader.next(&mut text).unwrap().is_some() {
        lines += 1;
    }
    assert_eq!(lines, 1024 / 130);
    writer.write(Level::Error, 1, "after");
    let line = reader.next(&mut text).unwrap().unwrap();
    assert_eq!((line.lost, text.as_str()), (20 - lines, "after"));
}
