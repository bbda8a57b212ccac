//! The ends of streams, against a peer made by hand.

use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};

use super::pattern;
use crate::testing::world::{Program, World};
use crate::testing::{PEER, PEER_MAC, frames};

const PORT: u16 = 41000;
/// The peer's first byte: its SYN has the number before.
const FIRST: i32 = 1001;

/// A peer that is nothing but the frames it injects; the world's host is cut off.
struct Peer {
    world: World,
    /// The number of the stack's first byte.
    acknowledged: TcpSeqNumber,
}

impl Peer {
    /// Connected to a service with rings of 1 KiB that leaves everything to the test.
    fn connected() -> Self {
        let mut world = World::new(Program::Watch, 1, 1024);
        world.faults.lost = 100;
        world.run(1);
        world.inject(&frames::arp_request(PEER_MAC));
        world.inject(&frames::syn(PORT, 80));
        world.run(1);
        let answer = world
            .seen
            .iter()
            .filter_map(|frame| frames::tcp(frame))
            .find(|segment| segment.syn());
        let acknowledged = answer.expect("a SYN|ACK").seq_number() + 1;
        let mut peer = Self {
            world,
            acknowledged,
        };
        peer.send(0, TcpControl::None, &[]);
        peer
    }

    /// Sends bytes from this offset of its stream on.
    fn send(&mut self, offset: usize, control: TcpControl, payload: &[u8]) {
        let segment = frames::segment(
            PEER,
            &TcpRepr {
                control,
                seq_number: TcpSeqNumber(FIRST) + offset,
                ack_number: Some(self.acknowledged),
                window_scale: None,
                max_seg_size: None,
                sack_permitted: false,
                payload,
                ..frames::syn_repr(PORT, 80)
            },
        );
        self.world.inject(&segment);
        self.world.run(20);
    }

    /// What the service reads, and whether the stream ended there.
    fn read(&mut self) -> (Vec<u8>, bool) {
        let service = &mut self.world.services[0];
        let id = service.only();
        let mut bytes = vec![0; service.port.readable(id)];
        let length = service.port.read(id, &mut bytes);
        bytes.truncate(length);
        let end = service.port.at_end(id);
        service.port.flush();
        self.world.run(20);
        (bytes, end)
    }

    fn sent_fins(&self) -> usize {
        let segments = self
            .world
            .seen
            .iter()
            .filter_map(|frame| frames::tcp(frame));
        segments.filter(|segment| segment.fin()).count()
    }
}

/// RFC 9293, section 3.10.7.4: what lies beyond the window is cut off, and the FIN behind it too.
#[test]
fn a_fin_behind_bytes_that_were_cut_off_is_no_end() {
    let mut peer = Peer::connected();
    let bytes = pattern(1025);
    peer.send(0, TcpControl::Fin, &bytes);
    assert!(peer.read() == (bytes[..1024].to_vec(), false));
    // The peer repeats what was not acknowledged.
    peer.send(1024, TcpControl::Fin, &bytes[1024..]);
    assert!(peer.read() == (bytes[1024..].to_vec(), true));
}

/// The data arrived before, the FIN did not: its segment is still new.
#[test]
fn a_fin_behind_repeated_bytes_is_the_end() {
    let mut peer = Peer::connected();
    let bytes = pattern(100);
    peer.send(0, TcpControl::Psh, &bytes);
    peer.send(0, TcpControl::Fin, &bytes);
    assert!(peer.read() == (bytes, true));
}

/// A FIN in front of a gap waits for what is missing.
#[test]
fn a_fin_that_comes_early_is_no_end() {
    let mut peer = Peer::connected();
    let bytes = pattern(200);
    peer.send(100, TcpControl::Fin, &bytes[100..]);
    assert!(peer.read() == (vec![], false));
    peer.send(0, TcpControl::Psh, &bytes[..100]);
    assert!(peer.read() == (bytes.clone(), true));
}

/// A damaged segment is not repaired on the way.
#[test]
fn a_damaged_last_segment_is_dropped() {
    let mut peer = Peer::connected();
    let mut segment = frames::segment(
        PEER,
        &TcpRepr {
            control: TcpControl::Fin,
            seq_number: TcpSeqNumber(FIRST),
            ack_number: Some(peer.acknowledged),
            payload: b"damaged",
            ..frames::syn_repr(PORT, 80)
        },
    );
    *segment.last_mut().unwrap() ^= 1;
    peer.world.inject(&segment);
    peer.world.run(20);
    assert!(peer.read() == (vec![], false));
}

/// Repeated acknowledgements of everything but the FIN do not keep it from being sent again.
#[test]
fn a_lost_fin_is_repeated() {
    let mut peer = Peer::connected();
    let service = &mut peer.world.services[0];
    let id = service.only();
    service.port.close(id);
    service.port.flush();
    peer.world.run(20);
    assert_eq!(peer.sent_fins(), 1);
    for _ in 0..5 {
        peer.send(0, TcpControl::None, &[]);
    }
    peer.world.run(5_000);
    assert!(peer.sent_fins() > 1);
}
