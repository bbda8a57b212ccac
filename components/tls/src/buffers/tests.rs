use alloc::vec;

use proptest::prelude::*;
use rustls::unbuffered::InsufficientSizeError;

use super::*;

/// Bytes that arrive, a few at a time.
struct Below {
    bytes: Vec<u8>,
    at_once: usize,
}

impl crate::Below for Below {
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.bytes.len()).min(self.at_once);
        buffer[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        count
    }
    fn space(&mut self) -> usize {
        0
    }
    fn write(&mut self, _: &[u8]) -> usize {
        0
    }
    fn wait_for_space(&mut self, _: usize) {}
}

fn below(bytes: &[u8]) -> Below {
    Below {
        bytes: bytes.to_vec(),
        at_once: usize::MAX,
    }
}

fn header(typ: u8, major: u8, length: usize) -> Vec<u8> {
    let [high, low] = (length as u16).to_be_bytes();
    vec![typ, major, 3, high, low]
}

fn record(typ: u8, length: usize) -> Vec<u8> {
    let mut record = header(typ, 3, length);
    record.resize(HEADER + length, typ);
    record
}

/// Returns a buffer that was filled with these bytes.
fn filled(bytes: &[u8]) -> Incoming {
    let mut incoming = Incoming::default();
    assert!(incoming.fill(&mut below(bytes)));
    incoming
}

#[test]
fn a_record_is_taken_whole_and_nothing_behind_it() {
    for at_once in [1, 3, 5, 7, 1000] {
        let mut stream = Below {
            bytes: [record(22, 10), record(23, 0), record(23, 3)].concat(),
            at_once,
        };
        let mut incoming = Incoming::default();
        for expected in [record(22, 10), record(23, 0), record(23, 3)] {
            assert!(incoming.fill(&mut stream));
            assert_eq!(incoming.record().unwrap(), &expected[..]);
            assert_eq!(incoming.only_record(), Some(&expected[..]));
            incoming.clear();
        }
        assert!(!incoming.fill(&mut stream));
        assert!(incoming.bytes().is_empty());
    }
}

#[test]
fn half_a_record_is_waited_for() {
    let whole = record(23, 100);
    for length in [0, 1, 4, 5, 6, 104] {
        let mut incoming = Incoming::default();
        assert!(!incoming.fill(&mut below(&whole[..length])));
        assert_eq!(incoming.bytes(), &whole[..length]);
        let mut rest = below(&whole[length..]);
        assert!(incoming.fill(&mut rest));
        assert_eq!(incoming.record().unwrap(), &whole[..]);
    }
}

/// RFC 5246, section 6.2.3, and RFC 8446, section 5.2: bytes that cannot be a record are rejected
/// at once.
#[test]
fn a_header_that_cannot_be_one_is_whole() {
    let whole = |header: &[u8]| Incoming::default().fill(&mut below(header));
    for typ in 0..=255 {
        assert_eq!(whole(&header(typ, 3, 1)), !(20..=24).contains(&typ));
    }
    for major in 0..=255 {
        assert_eq!(whole(&header(23, major, 1)), major != 3);
    }
    assert!(!whole(&header(23, 3, MAX_PROTECTED_TLS12)));
    assert!(whole(&header(23, 3, MAX_PROTECTED_TLS12 + 1)));
    assert_eq!(MAX_PROTECTED_TLS12, 18_432);
}

#[test]
fn the_length_of_an_open_sessions_record_has_a_limit() {
    let longest = record(23, MAX_PROTECTED_TLS12);
    assert_eq!(filled(&longest).record().unwrap().len(), longest.len());
    let longer = header(23, 3, MAX_PROTECTED_TLS12 + 1);
    assert_eq!(filled(&longer).record(), Err(Fault::TooLong));
    // A header that is not that of a record.
    assert_eq!(
        filled(&header(0, 3, 1)).record(),
        Err(Fault::UnexpectedMessage)
    );
    assert_eq!(Incoming::default().record(), Err(Fault::Malformed));
}

#[test]
fn the_length_of_a_handshakes_record_has_a_limit() {
    let check = |typ, length| {
        let header = header(typ, 3, length);
        let mut incoming = Incoming::default();
        incoming.fill(&mut below(&header));
        incoming.check_handshake()
    };
    for typ in [20, 21, 22] {
        assert_eq!(check(typ, 0), Ok(()), "rustls says what is wrong with it");
        assert_eq!(check(typ, MAX_PLAINTEXT), Ok(()));
        assert_eq!(check(typ, MAX_PLAINTEXT + 1), Err(Fault::TooLong));
    }
    assert_eq!(check(23, 0), Err(Fault::UnexpectedMessage));
    assert_eq!(check(23, 1), Ok(()));
    assert_eq!(check(23, MAX_PROTECTED_TLS13), Ok(()));
    assert_eq!(check(23, MAX_PROTECTED_TLS13 + 1), Err(Fault::TooLong));
    assert_eq!((MAX_PLAINTEXT, MAX_PROTECTED_TLS13), (16_384, 16_640));
    for typ in [0, 19, 24] {
        assert_eq!(check(typ, 0xffff), Ok(()), "rustls refuses the type");
    }
    assert_eq!(Incoming::default().check_handshake(), Ok(()));
}

#[test]
fn what_rustls_keeps_stays_in_front_of_the_next_record() {
    let (first, second) = (record(22, 20), record(22, 7));
    let mut stream = below(&[first.clone(), second.clone()].concat());
    let mut incoming = Incoming::default();
    assert!(incoming.fill(&mut stream));
    incoming.discard(10);
    assert_eq!(incoming.bytes(), &first[10..]);
    incoming.expect_more().unwrap();
    assert_eq!(incoming.only_record(), None);
    assert!(incoming.fill(&mut stream));
    assert_eq!(incoming.bytes(), [&first[10..], &second].concat());
    assert_eq!(incoming.record().unwrap(), &second[..]);
    // The kept bytes are removed, the record stays in place.
    incoming.discard(first.len() - 10);
    assert_eq!(incoming.bytes(), &second[..]);
    assert_eq!(incoming.record().unwrap(), &second[..]);
    incoming.discard(1000);
    assert!(incoming.bytes().is_empty());
}

#[test]
fn unfinished_handshake_messages_have_a_limit() {
    let mut incoming = Incoming::default();
    incoming.buffer.resize(MAX_HANDSHAKE + 1, 0);
    incoming.filled = MAX_HANDSHAKE;
    assert_eq!(incoming.expect_more(), Ok(()));
    incoming.filled = MAX_HANDSHAKE + 1;
    assert_eq!(incoming.expect_more(), Err(Error::HandshakeTooLarge));
    assert_eq!(MAX_HANDSHAKE, 81_920);
}

#[test]
fn records_are_told_apart() {
    let bytes = [record(22, 3), record(20, 0), record(21, 2)].concat();
    let mut records = Records(&bytes[..bytes.len() - 1]);
    assert_eq!(records.next(), Some(&record(22, 3)[..]));
    assert_eq!(records.next(), Some(&record(20, 0)[..]));
    assert_eq!(records.next(), None, "the last is not whole");
    assert_eq!(Records(&bytes).count(), 3);
}

#[test]
fn a_queue_gives_its_bytes_once_and_in_order() {
    let mut queue = Queue::default();
    assert!(queue.is_empty());
    queue.drain(|_| panic!("there is nothing to write"));
    queue.push(b"abc");
    queue.push(b"defg");
    let mut out = vec![];
    for at_once in [0, 1, 3, 100] {
        assert!(!queue.is_empty());
        queue.drain(|bytes| {
            let count = at_once.min(bytes.len());
            out.extend_from_slice(&bytes[..count]);
            // A writer that reports more bytes than it was given is not trusted.
            at_once
        });
    }
    assert!(queue.is_empty());
    assert_eq!(out, b"abcdefg");
    assert!(queue.bytes.is_empty(), "what was written is gone");
}

#[test]
fn what_is_encoded_comes_behind_the_rest() {
    let mut queue = Queue::default();
    queue.push(b"before ");
    let encoded = queue.encode(|buffer| match buffer.get_mut(..5) {
        Some(buffer) => {
            buffer.copy_from_slice(b"hello");
            Ok(4)
        }
        None => Err(EncodeError::InsufficientSize(InsufficientSizeError {
            required_size: 5,
        })),
    });
    assert_eq!(encoded, b"hell");
    assert_eq!(queue.encode(|_| Err(EncodeError::AlreadyEncoded)), b"");
    assert_eq!(&queue.bytes[..], b"before hell");
}

proptest! {
    /// For any input, at most one record is taken at a time, and the records taken equal the input.
    #[test]
    fn any_bytes_are_taken_record_by_record(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        at_once in 1usize..10,
    ) {
        let mut stream = Below { bytes: bytes.clone(), at_once };
        let mut incoming = Incoming::default();
        incoming.fill(&mut stream);
        let taken = incoming.bytes().len();
        prop_assert_eq!(incoming.bytes(), &bytes[..taken]);
        prop_assert_eq!(taken + stream.bytes.len(), bytes.len());
        prop_assert!(taken <= HEADER + MAX_PROTECTED_TLS12);
    }
}
