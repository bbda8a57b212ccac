//! IPv6 for a host: RFC 8200 with Neighbor Discovery (RFC 4861), stateless autoconfiguration (RFC
//! 4862), ICMPv6 (RFC 4443) and Multicast Listener Discovery (RFC 3810).
//!
//! [`Ipv6`] is sans-IO: it takes messages and the time, and returns what is to be done
//! ([`Ipv6::output`]). [`Host`](super::Host) reads and builds the frames, in `io` and `icmpv6`.
//!
//! | module | duty |
//! |---|---|
//! | `headers` | the IPv6 header and extension headers |
//! | `message` | formats and validity of Neighbor Discovery's messages |
//! | `discovery` | received messages of Neighbor Discovery |
//! | `addresses` | autoconfiguration, duplicate address detection, lifetimes |
//! | `prefixes`, `routers` | what is on the link, and the way to everything else |
//! | `select` | the source address of packets |
//! | `solicit` | when routers are solicited |
//! | `listener` | which multicast groups the host reports |
//!
//! `docs/ipv6.md` lists the requirements of the RFCs and where each is met.

mod address;
mod addresses;
mod discovery;
mod headers;
mod icmpv6;
mod io;
mod lifetime;
mod listener;
mod message;
mod notice;
mod prefixes;
mod routers;
mod select;
mod solicit;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, Ipv6Address, Ipv6Cidr};

use self::address::{
    ALL_NODES, ALL_ROUTERS, is_all_nodes, is_link_local, multicast_hardware, solicited_node,
};
use self::addresses::Addresses;
use self::listener::Listener;
use self::message::{Advertisement, NOT_FORWARDED, Solicitation};
pub use self::notice::Ipv6Notice;
use self::prefixes::Prefixes;
use self::routers::Routers;
use self::solicit::Solicitations;
use super::neighbours::{self, Neighbours, Solved};
use super::random::Random;
use crate::settings::Ipv6Setting;

/// Every link carries IPv6 packets of this length in bytes (RFC 8200, section 5).
pub(crate) const MIN_MTU: u16 = 1280;
/// The hop limit of packets, unless a router advertises another (RFC 4861, section 6.3.2).
const HOP_LIMIT: u8 = 64;
/// IPv6 on one link.
pub(crate) struct Ipv6 {
    hardware: EthernetAddress,
    /// Whether routers give addresses and routes; if not, the description does.
    automatic: bool,
    up: bool,
    /// The link's own MTU in bytes, and the one that routers advertise.
    link_mtu: u16,
    mtu: u16,
    hop_limit: u8,
    addresses: Addresses,
    prefixes: Prefixes,
    routers: Routers,
    solicitations: Solicitations,
    listener: Listener,
    neighbours: Neighbours<Ipv6Address>,
    network: Network,
    outputs: VecDeque<Output>,
}

/// Whether what was advertised is of this network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// It is.
    Known,
    /// The link was interrupted, and no router has sent an advertisement since.
    Unknown,
    /// A router has. When the others have had time for it too, the rest is dropped.
    Changing(Instant),
}

/// An action for the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send an ICMPv6 message.
    Send(Message),
    /// A neighbour's link-layer address is known: the packet that waited goes there.
    Solved {
        address: Ipv6Address,
        hardware: EthernetAddress,
        solved: Solved,
    },
    /// Connections that wait for this next hop are to try again.
    Retry(Ipv6Address),
    /// A neighbour does not answer; `awaited`: a connection waits for it.
    Failed { address: Ipv6Address, awaited: bool },
    /// The addresses changed.
    Changed,
    /// Something for the log.
    Notice(Ipv6Notice),
}

/// An ICMPv6 message to send, without its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub source: Ipv6Address,
    pub destination: Ipv6Address,
    pub hop_limit: u8,
    /// Whether a hop-by-hop Router Alert option is wanted (RFC 3810, section 5).
    pub router_alert: bool,
    /// The link-layer address, if it need not be resolved.
    pub hardware: Option<EthernetAddress>,
    pub message: Vec<u8>,
}

impl Ipv6 {
    /// Configures IPv6 as the description requires, on a link that is up and carries packets of
    /// `mtu` bytes. Returns `None` if the description disables IPv6.
    pub fn new(
        setting: &Ipv6Setting,
        hardware: EthernetAddress,
        mtu: u16,
        random: &mut Random,
        now: Instant,
    ) -> Option<Self> {
        let (automatic, configured, gateway) = match *setting {
            Ipv6Setting::Off => return None,
            Ipv6Setting::Automatic => (true, None, None),
            Ipv6Setting::Fixed { address, gateway } => (false, Some(address), gateway),
        };
        let mut ipv6 = Self {
            hardware,
            automatic,
            up: true,
            link_mtu: mtu,
            mtu,
            hop_limit: HOP_LIMIT,
            addresses: Addresses::new(hardware, random.fork()),
            prefixes: Prefixes::new(configured),
            routers: Routers::default(),
            solicitations: Solicitations::new(random.fork()),
            listener: Listener::new(random.fork()),
            neighbours: Neighbours::new(random.fork()),
            network: Network::Known,
            outputs: VecDeque::new(),
        };
        ipv6.addresses.add_link_local(now);
        if let Some(address) = configured {
            ipv6.addresses.add_configured(address, now);
        }
        if let Some(gateway) = gateway {
            ipv6.routers.configure(gateway);
        }
        ipv6.solicitations.start(now);
        ipv6.listen(now);
        Some(ipv6)
    }

    /// Notes the state of the link and its MTU in bytes. After an interruption it may be another network: duplicates are
    /// detected again, routers solicited, groups reported and neighbours confirmed, while addresses stay in use.
    pub fn link(&mut self, up: bool, mtu: u16, now: Instant) {
        self.link_mtu = mtu;
        self.mtu = self.mtu.min(mtu);
        if !core::mem::replace(&mut self.up, up) && up {
            self.addresses.doubt_all(now);
            self.prefixes.doubt_all();
            self.routers.doubt_all();
            self.neighbours.doubt_all(now);
            self.network = Network::Unknown;
            self.solicitations.start(now);
            self.listen(now);
            self.listener.report_all(now);
        }
    }

    /// Returns the next thing to do.
    pub fn output(&mut self, now: Instant) -> Option<Output> {
        if self.outputs.is_empty() && self.is_active() {
            self.poll_neighbours(now);
        }
        self.outputs.pop_front()
    }

    /// Does what is due. [`Ipv6::output`] has to follow.
    pub fn poll(&mut self, now: Instant) {
        self.expire(now);
        if !self.is_active() {
            return;
        }
        while let Some(report) = self.listener.poll(now) {
            let source = self.link_local().unwrap_or(Ipv6Address::UNSPECIFIED);
            self.send(Message {
                source,
                destination: report.destination,
                hop_limit: 1,
                router_alert: true,
                hardware: None,
                message: report.message,
            });
        }
        if self.solicitations.poll(now) {
            self.solicit_routers();
        }
        if let Some(router) = self.routers.probe(now) {
            self.neighbours.resolve(router, false, now);
        }
    }

    /// Returns when [`Ipv6::poll`] has something to do.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let changing = match self.network {
            Network::Changing(until) => Some(until),
            Network::Known | Network::Unknown => None,
        };
        let lifetimes = [
            self.addresses.deadline(),
            self.prefixes.deadline(),
            self.routers.deadline(),
            changing,
        ];
        // Until an address is unique, neighbours cannot be asked: the end of the detection comes first.
        let asking = self.addresses.asking();
        let protocols = [
            self.listener.deadline(),
            self.solicitations.deadline(),
            asking.and_then(|_| self.neighbours.deadline(now)),
        ];
        let protocols = protocols.into_iter().filter(|_| self.is_active());
        lifetimes.into_iter().chain(protocols).flatten().min()
    }

    /// Returns the addresses that the host may use.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv6Cidr> {
        self.addresses.all()
    }

    /// Whether this is one of the host's addresses.
    pub fn is_own(&self, address: Ipv6Address) -> bool {
        self.addresses.has(address)
    }

    /// Whether the host is a member of this group.
    pub fn is_member(&self, group: Ipv6Address) -> bool {
        is_all_nodes(group) || self.listener.contains(group)
    }

    /// Returns the length of the longest packet on the link in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Returns the hop limit of packets.
    pub fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    /// Returns the neighbour to which packets go: the destination itself if it is on the link, else
    /// a router (RFC 4861, section 5.2). Without a router the destination is unreachable; it is not
    /// assumed to be on the link (RFC 5942, section 4). The source, if it is known, decides between
    /// routers (RFC 8028, section 3.1).
    pub fn next_hop(
        &self,
        source: Option<Ipv6Address>,
        destination: Ipv6Address,
    ) -> Option<Ipv6Address> {
        let reachable = address::is_assignable(destination) && !self.is_own(destination);
        if !reachable || self.addresses.is_disabled() {
            return None;
        }
        if self.prefixes.contains(destination) {
            return Some(destination);
        }
        let advertisers = source.map_or(&[][..], |source| self.addresses.advertisers(source));
        self.routers.choose(advertisers)
    }

    /// Returns the host's address for packets to a destination (RFC 6724).
    pub fn source_for(&self, destination: Ipv6Address) -> Option<Ipv6Address> {
        let router = self
            .next_hop(None, destination)
            .filter(|hop| *hop != destination);
        select::source(self.addresses.candidates(router), destination)
    }

    /// Whether frames to this group address are for this host.
    pub fn hears(&self, group: EthernetAddress) -> bool {
        let mut groups = self.addresses.watched().map(solicited_node);
        multicast_hardware(ALL_NODES) == group || groups.any(|it| multicast_hardware(it) == group)
    }

    /// Whether packets are processed: IPv6 is not off because of a conflict, or duplicate address
    /// detection checks whether the other host is still there.
    pub fn is_listening(&self) -> bool {
        self.is_enabled() || self.addresses.watched().next().is_some()
    }

    /// Whether IPv6 is not off because of a conflict.
    fn is_enabled(&self) -> bool {
        !self.addresses.is_disabled()
    }

    /// Returns the table of neighbours.
    pub fn neighbours(&mut self) -> &mut Neighbours<Ipv6Address> {
        &mut self.neighbours
    }

    /// Ends lifetimes, and takes the next steps of duplicate address detection.
    fn expire(&mut self, now: Instant) {
        if matches!(self.network, Network::Changing(until) if until <= now) {
            self.drop_unconfirmed(now);
        }
        while let Some(action) = self.addresses.poll(now) {
            match action {
                addresses::Action::Expired(address) => {
                    self.notice(Ipv6Notice::Expired { address });
                    self.outputs.push_back(Output::Changed);
                    self.listen(now);
                }
                addresses::Action::Detect {
                    address,
                    nonce,
                    optimistic,
                } => {
                    self.listen(now);
                    self.detect(address, nonce, optimistic);
                }
                addresses::Action::Announce { address, regained } => {
                    if regained {
                        self.notice(Ipv6Notice::Regained { address });
                        self.outputs.push_back(Output::Changed);
                    }
                    // Neighbours that know another link-layer address learn this one (RFC 4861, section 7.2.6).
                    self.advertise(address, ALL_NODES, false, true, None);
                }
            }
        }
        self.prefixes.expire(now);
        if self.routers.expire(now) {
            self.solicitations.start(now);
        }
    }

    fn drop_unconfirmed(&mut self, now: Instant) {
        self.network = Network::Known;
        self.prefixes.drop_unconfirmed();
        self.routers.drop_unconfirmed();
        if self.addresses.drop_unconfirmed() {
            self.notice(Ipv6Notice::Moved);
            self.outputs.push_back(Output::Changed);
            self.listen(now);
        }
    }

    /// Listens to the solicited-node groups of the addresses.
    fn listen(&mut self, now: Instant) {
        let addresses: Vec<_> = self.addresses.watched().collect();
        self.listener
            .set(addresses.into_iter().map(solicited_node), now);
    }

    /// Solicits the address, to find another host that has it (RFC 4862, section 5.4.2; RFC 7527,
    /// section 4.1).
    fn detect(&mut self, address: Ipv6Address, nonce: message::Nonce, optimistic: bool) {
        let solicitation = Solicitation {
            target: address,
            hardware: None,
            nonce: Some(nonce),
        };
        self.send_unforwarded(
            Ipv6Address::UNSPECIFIED,
            solicited_node(address),
            None,
            message::write_solicitation(&solicitation),
        );
        // Routers then know where answers go before the first packet (RFC 9131, section 6.1.2).
        if optimistic {
            self.advertise(address, ALL_ROUTERS, false, false, None);
        }
    }

    fn advertise(
        &mut self,
        target: Ipv6Address,
        destination: Ipv6Address,
        solicited: bool,
        overrides: bool,
        hardware: Option<EthernetAddress>,
    ) {
        let advertisement = Advertisement {
            target,
            hardware: Some(self.hardware),
            router: false,
            solicited,
            overrides,
        };
        let message = message::write_advertisement(&advertisement);
        self.send_unforwarded(target, destination, hardware, message);
    }

    /// Solicits routers (RFC 4861, section 6.3.7). A message from an optimistic address must not
    /// contain a link-layer address, so none is used (RFC 4429, section 3.3).
    fn solicit_routers(&mut self) {
        let source = self.link_local().filter(|it| self.addresses.is_unique(*it));
        let hardware = source.map(|_| self.hardware);
        let source = source.unwrap_or(Ipv6Address::UNSPECIFIED);
        let message = message::write_router_solicitation(hardware);
        self.send_unforwarded(source, ALL_ROUTERS, None, message);
    }

    fn is_active(&self) -> bool {
        self.up && self.is_enabled()
    }

    /// Does the next thing that is due for a neighbour.
    fn poll_neighbours(&mut self, now: Instant) {
        let Some(source) = self.addresses.asking() else {
            return;
        };
        match self.neighbours.poll(now) {
            None => {}
            Some(neighbours::Action::Ask { address, known }) => self.ask(source, address, known),
            Some(neighbours::Action::Failed { address, awaited }) => {
                self.failed(address, awaited, now);
            }
        }
    }

    /// Asks for a neighbour's link-layer address, or whether it is still there (RFC 4861, sections 7.2.2 and 7.3.3).
    fn ask(&mut self, source: Ipv6Address, target: Ipv6Address, known: Option<EthernetAddress>) {
        let solicitation = Solicitation {
            target,
            hardware: Some(self.hardware),
            nonce: None,
        };
        let destination = match known {
            Some(_) => target,
            None => solicited_node(target),
        };
        let message = message::write_solicitation(&solicitation);
        self.send_unforwarded(source, destination, known, message);
    }

    fn failed(&mut self, address: Ipv6Address, awaited: bool, now: Instant) {
        if !self.routers.failed(address, now) {
            return self.outputs.push_back(Output::Failed { address, awaited });
        }
        // Connections that wait for this router find another one.
        let other = self.routers.choose(&[]).filter(|it| *it != address);
        self.notice(Ipv6Notice::RouterSilent {
            router: address,
            other,
        });
        self.outputs.push_back(match other {
            Some(_) => Output::Retry(address),
            None => Output::Failed { address, awaited },
        });
    }

    fn link_local(&self) -> Option<Ipv6Address> {
        let mut addresses = self.addresses.all().map(|it| it.address());
        addresses.find(|it| is_link_local(*it))
    }

    fn send_unforwarded(
        &mut self,
        source: Ipv6Address,
        destination: Ipv6Address,
        hardware: Option<EthernetAddress>,
        message: Vec<u8>,
    ) {
        self.send(Message {
            source,
            destination,
            hop_limit: NOT_FORWARDED,
            router_alert: false,
            hardware,
            message,
        });
    }

    fn send(&mut self, message: Message) {
        if self.up {
            self.outputs.push_back(Output::Send(message));
        }
    }

    fn notice(&mut self, notice: Ipv6Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }
}
