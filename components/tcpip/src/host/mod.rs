//! The IP host: addresses, routes, neighbours, DHCP, router discovery and ICMP, on one Ethernet link.
//!
//! [`Host`] is sans-IO like the rest of the crate: frames go in, frames come out through [`Wire`],
//! and [`Host::deadline`] returns when [`Host::maintain`] has to run.
//!
//! | module | duty |
//! |---|---|
//! | `input` | received frames: what is for this host and what must be dropped |
//! | `output` | frames to send, with one copy of the payload |
//! | `neighbours` | link-layer addresses, for ARP and Neighbor Discovery |
//! | `ipv4`, `arp`, `icmpv4` | IPv4: addresses and routes, link-layer addresses, errors and echo |
//! | `configuration`, `claim`, `dhcp` | IPv4: where the address comes from, whether another host has it, leases |
//! | `ipv6` | all of IPv6 |
//! | `paths` | path MTUs |
//!
//! `docs/ip.md` lists the requirements of RFC 1122, section 3, and RFC 2131, section 4, and where each is met,
//! `docs/ipv6.md` those of IPv6.

mod arp;
mod checksum;
mod claim;
mod configuration;
mod dhcp;
mod icmpv4;
mod input;
mod ipv4;
mod ipv6;
mod limit;
mod neighbours;
mod notice;
mod output;
mod paths;
mod random;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::dhcp::{LeaseFlaw, LeaseRefusal};
pub(crate) use self::ipv4::{is_host_address, is_host_part_reserved};
pub use self::ipv6::Ipv6Notice;
pub use self::notice::HostNotice;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address};

use self::configuration::Ipv4;
use self::ipv6::Ipv6;
use self::limit::TokenBucket;
use self::neighbours::Neighbours;
use self::notice::Notices;
use self::paths::Paths;
use self::random::Random;
use crate::segment::{Segment, SegmentError};
use crate::sequence::KEY_LENGTH;
use crate::settings::Settings;
use crate::wire::Wire;

/// The MTU of Ethernet in bytes (RFC 894), until the driver reports the link's MTU.
const ETHERNET_MTU: u16 = 1500;

/// A received frame, sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    /// A TCP segment for this host, with a correct checksum, between unicast addresses.
    Segment(Segment<'a>),
    /// An ICMP error about a segment.
    SegmentError(SegmentError),
    /// The host has dealt with it. [`Host::resolution`] may have news, and [`Host::deadline`] may have changed.
    Handled,
    /// Nothing that this host takes.
    Dropped(Drop),
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// Too short, with contradicting lengths, or with a wrong checksum.
    Malformed,
    /// A fragment of an IP packet; the host does not reassemble.
    Fragment,
    /// A source or destination that no honest packet has.
    Martian,
    /// For another host or of an unknown protocol.
    NotOurs,
    /// An IPv4 packet with a source route.
    SourceRoute,
}

/// The end of a resolution that a [`Host::send`] waits for. The address is the next hop's ([`Host::next_hop`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The link-layer address is known: try again.
    Found(IpAddress),
    /// The neighbour does not answer: as a host-unreachable error, a hint (RFC 1122, section 2.4).
    Failed(IpAddress),
}

/// The host on one link.
pub(crate) struct Host {
    hardware: EthernetAddress,
    random: Random,
    /// The link's MTU in bytes.
    mtu: u16,
    up: bool,
    ipv4: Ipv4,
    arp: Neighbours<Ipv4Address>,
    ipv6: Option<Ipv6>,
    paths: Paths,
    limits: Limits,
    resolutions: VecDeque<Resolution>,
    notices: Notices,
    /// The addresses changed since [`Host::maintain`] said so.
    changed: bool,
}

/// Answers that others can cause.
struct Limits {
    neighbour_replies: TokenBucket,
    echo_replies: TokenBucket,
    /// RFC 1812, section 4.3.2.8; RFC 4443, section 2.4 f.
    errors: TokenBucket,
}

impl Host {
    /// Returns a host with this link-layer address, which must be unicast, on a link that is up.
    /// `key` keys its random numbers.
    pub fn new(
        settings: &Settings,
        hardware: EthernetAddress,
        key: [u8; KEY_LENGTH],
        now: Instant,
    ) -> Self {
        let mut random = Random::new(key);
        Self {
            hardware,
            mtu: ETHERNET_MTU,
            up: true,
            ipv4: Ipv4::new(settings, hardware, random.fork(), now),
            arp: Neighbours::new(random.fork()),
            ipv6: Ipv6::new(&settings.ipv6, hardware, ETHERNET_MTU, &mut random, now),
            random,
            paths: Paths::default(),
            limits: Limits::new(),
            resolutions: VecDeque::new(),
            notices: Notices::new(),
            changed: true,
        }
    }

    /// Notes the state of the link and its MTU in bytes. When the link is back, it may be another one: neighbours are
    /// confirmed, the address is announced and a lease checked. [`Host::maintain`] has to follow.
    pub fn link(&mut self, up: bool, mtu: u16, now: Instant) {
        self.mtu = mtu;
        if up && !self.up {
            self.arp.doubt_all(now);
            self.paths.clear();
            self.ipv4.link_up(now);
        }
        if let Some(ipv6) = &mut self.ipv6 {
            ipv6.link(up, mtu, now);
        }
        self.up = up;
    }

    /// Does what is due. Returns whether the addresses changed since the last call.
    pub fn maintain(&mut self, wire: &mut Wire, now: Instant) -> bool {
        self.maintain_ipv4(wire, now);
        self.maintain_ipv6(wire, now);
        self.ask(wire, now);
        core::mem::take(&mut self.changed)
    }

    /// Returns when [`Host::maintain`] has something to do. Every other call may change it.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let changed = self.changed.then_some(now);
        let ipv6 = self.ipv6.as_ref().and_then(|ipv6| ipv6.deadline(now));
        let deadlines = [changed, self.arp.deadline(now), self.ipv4.deadline(), ipv6];
        deadlines.into_iter().flatten().min()
    }

    /// Returns the next thing that an operator may want to read.
    pub fn notice(&mut self) -> Option<HostNotice> {
        self.notices.pop()
    }

    /// Returns the next end of a resolution.
    pub fn resolution(&mut self) -> Option<Resolution> {
        self.resolutions.pop_front()
    }

    /// Whether this is one of the host's own addresses.
    pub fn is_own(&self, address: IpAddress) -> bool {
        match address {
            IpAddress::Ipv4(address) => self.ipv4_address() == Some(address),
            IpAddress::Ipv6(address) => self.ipv6.as_ref().is_some_and(|it| it.is_own(address)),
        }
    }

    /// Returns the addresses that the host has now.
    pub fn addresses(&self) -> Vec<IpCidr> {
        let ipv4 = self.ipv4.config().map(|config| config.address.into());
        let ipv6 = self.ipv6.iter().flat_map(|ipv6| ipv6.addresses());
        ipv4.into_iter().chain(ipv6.map(IpCidr::from)).collect()
    }

    /// Returns the host's address for packets to `destination`, if it can reach it.
    pub fn source_for(&self, destination: IpAddress) -> Option<IpAddress> {
        self.next_hop(destination)?;
        match destination {
            IpAddress::Ipv4(_) => self.ipv4_address().map(IpAddress::from),
            IpAddress::Ipv6(destination) => {
                let source = self.ipv6.as_ref()?.source_for(destination)?;
                Some(source.into())
            }
        }
    }

    /// Returns the neighbour to which packets for a unicast address go, if there is a route. With several IPv6 routers the
    /// source decides too; [`Resolution::Found`] is then reported for all of them.
    pub fn next_hop(&self, destination: IpAddress) -> Option<IpAddress> {
        self.route(None, destination)
    }

    /// Returns the next hop as [`Host::next_hop`] does, for packets from this source.
    fn route(&self, source: Option<IpAddress>, destination: IpAddress) -> Option<IpAddress> {
        match destination {
            IpAddress::Ipv4(destination) => {
                let config = self.ipv4.config()?;
                let possible = ipv4::is_host_address(destination)
                    && !config.is_broadcast(destination)
                    && config.address.address() != destination;
                let hop = config.next_hop(destination, self.ipv4.dead());
                let hop = hop.filter(|_| possible)?;
                Some(hop.into())
            }
            IpAddress::Ipv6(destination) => {
                let source = match source {
                    Some(IpAddress::Ipv6(source)) => Some(source),
                    Some(IpAddress::Ipv4(_)) | None => None,
                };
                let hop = self.ipv6.as_ref()?.next_hop(source, destination)?;
                Some(hop.into())
            }
        }
    }

    /// Returns the longest IP packet to `destination` in bytes.
    pub fn path_mtu(&self, destination: IpAddress, now: Instant) -> u16 {
        let link = match destination {
            IpAddress::Ipv4(_) => self.ipv4_mtu(),
            IpAddress::Ipv6(_) => self.ipv6.as_ref().map_or(self.mtu, Ipv6::mtu),
        };
        let path = self.paths.get(destination, now);
        path.map_or(link, |path| path.mtu.min(link))
    }

    /// Takes a report [`SegmentErrorKind::TooBig`](crate::segment::SegmentErrorKind::TooBig) whose segment TCP found to be
    /// in flight. [`Host::path_mtu`] is bounded below.
    pub fn reduce_path_mtu(&mut self, destination: IpAddress, mtu: u16, now: Instant) {
        self.paths.reduce(destination, mtu, now);
    }

    /// Notes that TCP made progress: the peer acknowledged new data, so the next hop is reachable (RFC 4861, section
    /// 7.3.1). Once in a few seconds is enough.
    pub fn confirm(&mut self, remote: IpAddress, now: Instant) {
        match self.next_hop(remote) {
            Some(IpAddress::Ipv4(hop)) => self.arp.confirm(hop, now),
            Some(IpAddress::Ipv6(hop)) => {
                if let Some(ipv6) = &mut self.ipv6 {
                    ipv6.neighbours().confirm(hop, now);
                }
            }
            None => {}
        }
    }

    fn ipv4_address(&self) -> Option<Ipv4Address> {
        self.ipv4.config().map(|config| config.address.address())
    }

    fn ipv4_mtu(&self) -> u16 {
        let configured = self.ipv4.config().and_then(|config| config.mtu);
        configured.map_or(self.mtu, |mtu| mtu.min(self.mtu))
    }

    /// Returns the neighbour's link-layer address, or starts to resolve it.
    fn resolve(&mut self, hop: IpAddress, awaited: bool, now: Instant) -> Option<EthernetAddress> {
        match hop {
            IpAddress::Ipv4(hop) => self.arp.resolve(hop, awaited, now),
            IpAddress::Ipv6(hop) => self.ipv6.as_mut()?.neighbours().resolve(hop, awaited, now),
        }
    }

    fn keep(&mut self, hop: IpAddress, packet: Box<[u8]>) {
        match hop {
            IpAddress::Ipv4(hop) => self.arp.keep(hop, packet),
            IpAddress::Ipv6(hop) => {
                if let Some(ipv6) = &mut self.ipv6 {
                    ipv6.neighbours().keep(hop, packet);
                }
            }
        }
    }

    /// Sends the requests for link-layer addresses that are due.
    fn ask(&mut self, wire: &mut Wire, now: Instant) {
        self.ask_arp(wire, now);
        self.run_ipv6(wire, now);
    }
}

impl Limits {
    fn new() -> Self {
        Self {
            neighbour_replies: TokenBucket::new(1000, Duration::from_millis(1)),
            echo_replies: TokenBucket::new(1000, Duration::from_millis(1)),
            errors: TokenBucket::new(50, Duration::from_millis(10)),
        }
    }
}
