//! The state of one connection, the transmission control block (RFC 9293, section 3.3.1), and the calls of its user.

use channel::streams::SocketMemory;
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpEndpoint};

use super::assembler::Assembler;
use super::challenge::{Challenges, Limits};
use super::congestion::Congestion;
use super::cookie::Offer;
use super::header::{Options, TIMESTAMPS_LENGTH};
use super::parameters::{Parameters, payload_room, window_shift};
use super::recovery::Recovery;
use super::ring::{ReceiveRing, TransmitRing};
use super::rtt::Rtt;
use super::sack::Scoreboard;
use super::timers::Timers;
use super::{Reaction, SequenceNumber, State};
use crate::segment::Segment;

/// The MSS of a peer that names none (RFC 9293, section 3.7.1).
const DEFAULT_MSS_IPV4: u16 = 536;
const DEFAULT_MSS_IPV6: u16 = 1220;
/// A peer that names less gets segments of this size: headers would cost more than they carry.
const SMALLEST_MSS: u16 = 64;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both FINs are acknowledged.
    Orderly,
    /// The peer reset it, or refused it.
    Reset,
    /// The peer was silent, or the handshake took too long.
    TimedOut,
    /// The own side gave it up.
    Aborted,
}

/// SND: what goes to the peer.
pub(super) struct SendSide {
    pub ring: TransmitRing,
    /// SND.UNA: the first number that is not acknowledged.
    pub una: SequenceNumber,
    /// SND.NXT: the next number to send. After a time-out it goes back to `una`.
    pub nxt: SequenceNumber,
    /// The highest number that was ever next.
    pub max: SequenceNumber,
    /// SND.WND in bytes.
    pub window: u32,
    /// MAX.SND.WND (RFC 5961, section 5.2).
    pub max_window: u32,
    /// SND.WL1 and SND.WL2.
    pub wl1: SequenceNumber,
    pub wl2: SequenceNumber,
    /// ISS.
    pub first: SequenceNumber,
    /// The number after the last byte that the user has written.
    pub end: SequenceNumber,
    /// The user has closed: a FIN follows the last byte.
    pub fin: bool,
    /// Up to where the user knows what was acknowledged.
    pub reported: SequenceNumber,
    /// Shift of the peer's windows.
    pub shift: u8,
    /// The peer's MSS, and what the path carries: bytes of payload and TCP options.
    pub peer_mss: u16,
    pub path_mss: u16,
    /// The congestion window has kept something back.
    pub limited: bool,
    /// When a segment with data was sent last.
    pub last: Instant,
}

/// RCV: what comes from the peer.
pub(super) struct ReceiveSide {
    pub ring: ReceiveRing,
    /// IRS.
    pub first: SequenceNumber,
    /// RCV.NXT: the next number that is expected.
    pub nxt: SequenceNumber,
    /// RCV.NXT + RCV.WND: the end of the window, as the peer knows it.
    pub edge: SequenceNumber,
    /// The first byte that the user has not consumed.
    pub consumed: SequenceNumber,
    /// Up to where the user knows what arrived.
    pub reported: SequenceNumber,
    /// The number of the peer's FIN, once it came.
    pub fin: Option<SequenceNumber>,
    pub assembler: Assembler,
    /// Shift of the own windows.
    pub shift: u8,
    /// The MSS that this host has announced.
    pub mss: u16,
    /// The last number that was acknowledged (Last.ACK.sent of RFC 7323).
    pub acknowledged: SequenceNumber,
    /// Segments with data since then.
    pub unacknowledged: u8,
    /// An ACK is to be sent.
    pub owes_ack: bool,
}

impl ReceiveSide {
    /// Returns the end of what the ring has room for.
    pub fn limit(&self) -> SequenceNumber {
        self.consumed + self.ring.capacity()
    }
}

/// The timestamps of a connection on which both sides use them (RFC 7323).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// Added to the own clock.
    pub offset: u32,
    /// TS.Recent.
    pub recent: u32,
    /// When it was taken over.
    pub since: Instant,
}

/// A connection. It is kept for the next one when it is over.
pub(crate) struct Tcb {
    pub(super) local: IpEndpoint,
    pub(super) remote: IpEndpoint,
    pub(super) state: State,
    pub(super) end: Option<End>,
    /// The peer began.
    pub(super) passive: bool,
    pub(super) send: SendSide,
    pub(super) receive: ReceiveSide,
    pub(super) clock: Option<Clock>,
    pub(super) timestamp_offset: u32,
    /// Both sides take SACK options (RFC 2018).
    pub(super) sack: bool,
    /// Both sides scale their windows (RFC 7323, section 2).
    pub(super) scales: bool,
    pub(super) scoreboard: Scoreboard,
    pub(super) recovery: Recovery,
    pub(super) congestion: Congestion,
    pub(super) rtt: Rtt,
    /// A number, and when it was sent for the first time: measures the round trip (RFC 6298, section 3).
    pub(super) timed: Option<(SequenceNumber, Instant)>,
    pub(super) timers: Timers,
    pub(super) challenges: Challenges,
    /// A reset is to be sent.
    pub(super) owes_reset: bool,
    /// Segments that were sent again.
    pub(super) retransmissions: u32,
}

impl Tcb {
    /// Returns a block without a connection, over a slot's rings.
    ///
    /// # Panics
    /// If the size of a ring is not a power of two.
    pub fn new(memory: SocketMemory) -> Self {
        let zero = SequenceNumber::default();
        let nowhere = IpEndpoint::new(IpAddress::v4(0, 0, 0, 0), 0);
        Self {
            local: nowhere,
            remote: nowhere,
            state: State::Closed,
            end: None,
            passive: false,
            send: SendSide {
                ring: TransmitRing::new(memory.transmit),
                una: zero,
                nxt: zero,
                max: zero,
                window: 0,
                max_window: 0,
                wl1: zero,
                wl2: zero,
                first: zero,
                end: zero,
                fin: false,
                reported: zero,
                shift: 0,
                peer_mss: DEFAULT_MSS_IPV4,
                path_mss: DEFAULT_MSS_IPV4,
                limited: false,
                last: Instant::ZERO,
            },
            receive: ReceiveSide {
                ring: ReceiveRing::new(memory.receive),
                first: zero,
                nxt: zero,
                edge: zero,
                consumed: zero,
                reported: zero,
                fin: None,
                assembler: Assembler::default(),
                shift: 0,
                mss: DEFAULT_MSS_IPV4,
                acknowledged: zero,
                unacknowledged: 0,
                owes_ack: false,
            },
            clock: None,
            timestamp_offset: 0,
            sack: false,
            scales: false,
            scoreboard: Scoreboard::default(),
            recovery: Recovery::default(),
            congestion: Congestion::new(u32::from(DEFAULT_MSS_IPV4), false),
            rtt: Rtt::new(),
            timed: None,
            timers: Timers::new(Instant::ZERO),
            challenges: Challenges::default(),
            owes_reset: false,
            retransmissions: 0,
        }
    }

    /// Begins a connection of this host's: a SYN is to be sent.
    pub fn connect(&mut self, parameters: &Parameters, now: Instant) {
        self.begin(parameters, now);
        self.state = State::SynSent;
        self.passive = false;
    }

    /// Takes a peer's SYN: a SYN|ACK is to be sent. Data with the SYN is left to be sent again.
    pub fn accept(&mut self, syn: &Segment<'_>, parameters: &Parameters, now: Instant) {
        self.begin(parameters, now);
        self.state = State::SynReceived;
        self.passive = true;
        self.take_syn(syn, now);
    }

    /// Takes a peer's first segment after a SYN|ACK with a cookie: the connection is established, unless the segment is
    /// not as it has to be.
    pub fn accept_cookie(
        &mut self,
        ack: &Segment<'_>,
        offer: &Offer,
        parameters: &Parameters,
        limits: &mut Limits,
        now: Instant,
    ) -> Reaction {
        let mut syn = *ack;
        syn.payload = &[];
        syn.header.sequence = ack.header.sequence - 1;
        syn.header.options = Options {
            mss: Some(offer.mss),
            window_shift: offer.window_shift,
            sack_permitted: offer.sack_permitted,
            timestamps: ack.header.options.timestamps,
            ..Options::default()
        };
        let parameters = Parameters {
            number: ack.header.acknowledgement - 1,
            ..*parameters
        };
        self.accept(&syn, &parameters, now);
        self.send.nxt = ack.header.acknowledgement;
        self.send.max = self.send.nxt;
        // The peer may have waited long for a slot: that is no round trip.
        self.timed = Some((self.send.max + 1, now));
        let reaction = self.receive(ack, limits, now);
        self.timed = None;
        reaction
    }

    fn begin(&mut self, parameters: &Parameters, now: Instant) {
        let mss = parameters.largest_mss();
        self.local = parameters.local;
        self.remote = parameters.remote;
        self.end = None;
        self.owes_reset = false;
        self.begin_sending(parameters.number, mss, now);
        self.begin_receiving(SequenceNumber::default(), mss);
        self.send.peer_mss = match parameters.remote.addr {
            IpAddress::Ipv4(_) => DEFAULT_MSS_IPV4,
            IpAddress::Ipv6(_) => DEFAULT_MSS_IPV6,
        };
        self.clock = None;
        self.timestamp_offset = parameters.timestamp_offset;
        self.sack = false;
        self.scales = false;
        self.scoreboard.clear();
        self.recovery = Recovery::default();
        self.rtt = Rtt::new();
        self.timed = None;
        self.timers = Timers::new(now);
        self.challenges = Challenges::default();
        self.congestion = Congestion::new(self.smss(), false);
    }

    fn begin_sending(&mut self, number: SequenceNumber, path_mss: u16, now: Instant) {
        let send = &mut self.send;
        (send.first, send.una, send.nxt, send.max) = (number, number, number, number);
        send.end = number + 1;
        send.reported = send.end;
        send.ring.begin(send.end);
        (send.window, send.max_window, send.shift) = (0, 0, 0);
        send.fin = false;
        send.path_mss = path_mss;
        send.limited = false;
        send.last = now;
    }

    fn begin_receiving(&mut self, number: SequenceNumber, mss: u16) {
        let receive = &mut self.receive;
        receive.first = number;
        receive.nxt = number + 1;
        receive.edge = receive.nxt;
        receive.consumed = receive.nxt;
        receive.reported = receive.nxt;
        receive.acknowledged = number;
        receive.ring.begin(receive.nxt);
        receive.fin = None;
        receive.assembler = Assembler::default();
        receive.shift = 0;
        receive.mss = mss;
        receive.unacknowledged = 0;
        receive.owes_ack = false;
    }

    /// Takes number and options of the peer's SYN.
    pub(super) fn take_syn(&mut self, syn: &Segment<'_>, now: Instant) {
        let header = &syn.header;
        let options = &header.options;
        self.begin_receiving(header.sequence, self.receive.mss);
        if let Some(mss) = options.mss {
            self.send.peer_mss = mss.max(SMALLEST_MSS);
        }
        if let Some(shift) = options.window_shift {
            self.send.shift = shift;
            self.receive.shift = window_shift(self.capacity());
            self.scales = true;
        }
        self.sack = options.sack_permitted;
        self.clock = options.timestamps.map(|timestamps| Clock {
            offset: self.timestamp_offset,
            recent: timestamps.value,
            since: now,
        });
        // The window of a SYN is never shifted (RFC 7323, section 2.2).
        self.send.window = header.window.into();
        self.send.max_window = self.send.window;
        self.send.wl1 = header.sequence;
        self.send.wl2 = header.acknowledgement;
        self.congestion = Congestion::new(self.smss(), false);
    }

    /// Returns SMSS: the most bytes of payload in a segment (RFC 9293, section 3.7.1; RFC 6691).
    pub(super) fn smss(&self) -> u32 {
        let options = match self.clock {
            Some(_) => TIMESTAMPS_LENGTH as u32,
            None => 0,
        };
        self.segment_room() - options
    }

    /// Returns the most bytes of payload and TCP options in a segment.
    pub(super) fn segment_room(&self) -> u32 {
        let room = self.send.peer_mss.min(self.send.path_mss);
        room.max(SMALLEST_MSS).into()
    }

    /// Sets the length of the longest packet that the path carries, in bytes.
    pub(super) fn set_path_mtu(&mut self, mtu: u16) {
        self.send.path_mss = payload_room(mtu, self.remote.addr).max(SMALLEST_MSS);
    }

    /// Returns the end of the received data: without FIN.
    pub(super) fn received_end(&self) -> SequenceNumber {
        match self.receive.fin {
            Some(fin) => self.receive.nxt.earliest(fin),
            None => self.receive.nxt,
        }
    }
}
