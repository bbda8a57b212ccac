//! A connection whose peer is the test.

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::segment::{Outgoing, Segment, Sent};
use crate::tcp::header::Timestamps;
use crate::tcp::{
    Flags, Header, Limits, Options, Parameters, Reaction, SequenceNumber, State, Tcb,
};
use crate::testing::pairs::{self, Rings};

/// The peer's initial number.
pub(crate) const PEER: u32 = 1000;
/// The own one: the numbers wrap soon.
pub(crate) const OWN: u32 = u32::MAX - 3000;

pub(crate) const MSS: usize = 1460;

pub(crate) const ACK: Flags = Flags::ACK;
pub(crate) const RST: Flags = Flags::RST;
pub(crate) const SYN: Flags = Flags::SYN;
pub(crate) const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);
pub(crate) const SYN_ACK: Flags = Flags::SYN.with(Flags::ACK);

pub(crate) fn local() -> IpEndpoint {
    IpEndpoint::new(IpAddress::v4(10, 0, 0, 1), 80)
}

pub(crate) fn remote() -> IpEndpoint {
    IpEndpoint::new(IpAddress::v4(10, 0, 0, 2), 40000)
}

pub(crate) fn parameters() -> Parameters {
    Parameters {
        local: local(),
        remote: remote(),
        number: SequenceNumber(OWN),
        timestamp_offset: 0x1234_5678,
        mtu: 1500,
    }
}

/// A segment that the connection sent. Numbers count from its own SYN, acknowledgements from the peer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub flags: Flags,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub payload: Vec<u8>,
    pub header: Header,
}

/// The connection and what it did.
pub(crate) struct Script {
    pub tcb: Tcb,
    pub rings: Rings,
    pub limits: Limits,
    pub now: Instant,
    pub seen: Vec<Seen>,
    /// The result of sending its segments.
    pub sent: Sent,
    pub window: u16,
    pub timestamp: Option<u32>,
    written: usize,
}

impl Script {
    /// A block without a connection.
    pub fn new(size: usize) -> Self {
        let (memory, rings) = pairs::socket_memory(size);
        Self {
            tcb: Tcb::new(memory),
            rings,
            limits: Limits::new([1; 16]),
            now: Instant::from_secs(100),
            seen: vec![],
            sent: Sent::Done,
            window: 60_000,
            timestamp: None,
            written: 0,
        }
    }

    /// A connection that the peer opened with these options.
    pub fn open(size: usize, options: Options) -> Self {
        let mut script = Self::new(size);
        script.timestamp = options.timestamps.map(|timestamps| timestamps.value);
        let syn = script.segment(SYN, 0, 0, &[], options);
        script.tcb.accept(&syn, &parameters(), script.now);
        let answer = script.transmit();
        assert_eq!(
            (answer[0].flags, answer[0].seq, answer[0].ack),
            (SYN_ACK, 0, 1)
        );
        assert_eq!(script.tcb.state(), State::SynReceived);
        script.take(ACK, 1, 1, &[]);
        assert_eq!(script.tcb.state(), State::Established);
        assert_eq!(script.seen, []);
        script
    }

    /// A connection with nothing but an MSS of [`MSS`].
    pub fn plain(size: usize) -> Self {
        Self::open(size, plain())
    }

    /// A connection with SACK and nothing else.
    pub fn with_sack(size: usize) -> Self {
        Self::open(
            size,
            Options {
                sack_permitted: true,
                ..plain()
            },
        )
    }

    pub fn segment<'a>(
        &self,
        flags: Flags,
        seq: u32,
        ack: u32,
        payload: &'a [u8],
        options: Options,
    ) -> Segment<'a> {
        Segment {
            local: local(),
            remote: remote(),
            header: Header {
                flags,
                sequence: SequenceNumber(PEER) + seq,
                acknowledgement: SequenceNumber(OWN) + ack,
                window: self.window,
                options,
            },
            payload,
        }
    }

    /// Gives the connection a segment and returns what it sends then.
    pub fn take(&mut self, flags: Flags, seq: u32, ack: u32, payload: &[u8]) -> Vec<Seen> {
        let options = Options {
            timestamps: self.timestamp.map(|value| Timestamps { value, echo: 0 }),
            ..Options::default()
        };
        self.take_with(flags, seq, ack, payload, options)
    }

    pub fn take_with(
        &mut self,
        flags: Flags,
        seq: u32,
        ack: u32,
        payload: &[u8],
        options: Options,
    ) -> Vec<Seen> {
        let segment = self.segment(flags, seq, ack, payload, options);
        assert_eq!(self.react(&segment), Reaction::None);
        self.transmit()
    }

    pub fn react(&mut self, segment: &Segment<'_>) -> Reaction {
        self.tcb.receive(segment, &mut self.limits, self.now)
    }

    /// The ACK that reports these blocks.
    pub fn take_sack(&mut self, ack: u32, blocks: &[(u32, u32)]) -> Vec<Seen> {
        let mut blocks = blocks.iter();
        let at = |number| SequenceNumber(OWN) + number;
        let options = Options {
            sack: core::array::from_fn(|_| blocks.next().map(|(s, e)| (at(*s), at(*e)))),
            ..Options::default()
        };
        self.take_with(ACK, 1, ack, &[], options)
    }

    /// Lets the connection send, and returns what.
    pub fn transmit(&mut self) -> Vec<Seen> {
        let mut seen = vec![];
        let sent = self.sent;
        self.tcb
            .transmit(1000, self.now, |outgoing: &Outgoing<'_>| {
                seen.push(Seen {
                    flags: outgoing.header.flags,
                    seq: outgoing.header.sequence.since(SequenceNumber(OWN)),
                    ack: outgoing.header.acknowledgement.since(SequenceNumber(PEER)),
                    window: outgoing.header.window,
                    payload: outgoing.payload.concat(),
                    header: outgoing.header,
                });
                sent
            });
        seen
    }

    /// The user writes bytes, as many as fit; what is sent then.
    pub fn write(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.rings.write(self.written, bytes);
        let taken = self.tcb.write(bytes.len());
        self.written += taken;
        self.transmit()
    }

    /// Moves the time to the connection's deadline; what it sends then.
    pub fn deadline(&mut self) -> Vec<Seen> {
        self.now = self.tcb.deadline().expect("a deadline").max(self.now);
        self.tcb.expire(self.now);
        self.transmit()
    }

    /// Moves the time; what the connection sends meanwhile.
    pub fn pass(&mut self, milliseconds: u64) -> Vec<Seen> {
        let end = self.now + Duration::from_millis(milliseconds);
        let mut seen = vec![];
        while let Some(at) = self.tcb.deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.tcb.expire(self.now);
            seen.extend(self.transmit());
        }
        self.now = end;
        seen
    }
}

pub(crate) fn plain() -> Options {
    Options {
        mss: Some(MSS as u16),
        ..Options::default()
    }
}

/// Numbers and lengths of segments.
pub(crate) fn spans(seen: &[Seen]) -> Vec<(u32, usize)> {
    seen.iter()
        .map(|seen| (seen.seq, seen.payload.len()))
        .collect()
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}
