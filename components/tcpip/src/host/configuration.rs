//! Where the IPv4 address comes from, and what keeps it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, EthernetProtocol, IpProtocol, Ipv4Address, Ipv4Packet, UdpPacket,
};

use super::claim::{Claim, Conflict, Step};
use super::dhcp::{Client, Output};
use super::input::check_udp;
use super::ipv4::{BROADCAST, Ipv4Config};
use super::notice::HostNotice;
use super::output::{IPV4_HEADER, Waits, pseudo_header, write_ipv4};
use super::random::Random;
use super::{Drop, Host, Received};
use crate::settings::{ConflictDetection, Ipv4Setting, Settings};
use crate::wire::Wire;

/// UDP ports of DHCP (RFC 2131, section 4.1).
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Length in bytes of the UDP header.
const UDP_HEADER: usize = 8;

/// The address, if there is one, and its source.
pub(super) struct Ipv4 {
    config: Option<Ipv4Config>,
    claim: Option<Claim>,
    /// Routers that did not answer (RFC 1122, section 3.3.1.4). Packets take another one until an ARP packet of theirs comes.
    dead: Vec<Ipv4Address>,
    client: Option<Box<Client>>,
    detection: ConflictDetection,
    random: Random,
}

impl Ipv4 {
    pub fn new(
        settings: &Settings,
        hardware: EthernetAddress,
        mut random: Random,
        now: Instant,
    ) -> Self {
        let client = (settings.ipv4 == Ipv4Setting::Dhcp).then(|| {
            let name = settings.host_name.clone();
            Box::new(Client::new(hardware, name, random.fork(), now))
        });
        let mut ipv4 = Self {
            config: None,
            claim: None,
            dead: Vec::new(),
            client,
            detection: settings.conflict_detection,
            random,
        };
        if let Ipv4Setting::Fixed { address, gateway } = settings.ipv4 {
            ipv4.claim(Ipv4Config::new(address, gateway), now);
        }
        ipv4
    }

    /// Returns the address in use and its parameters.
    pub fn config(&self) -> Option<&Ipv4Config> {
        let usable = self.claim.as_ref().is_some_and(Claim::is_usable);
        self.config.as_ref().filter(|_| usable)
    }

    /// Returns the routers that did not answer.
    pub fn dead(&self) -> &[Ipv4Address] {
        &self.dead
    }

    /// Notes that a neighbour does not answer. When no router is left, all are tried again.
    pub fn set_dead(&mut self, address: Ipv4Address) {
        let Some(config) = &self.config else {
            return;
        };
        if !config.is_router(address) || self.dead.contains(&address) {
            return;
        }
        self.dead.push(address);
        let mut routers = config.routes.iter().filter_map(|route| route.router);
        if routers.all(|router| self.dead.contains(&router)) {
            self.dead.clear();
        }
    }

    /// Notes that a neighbour has sent an ARP packet.
    pub fn set_alive(&mut self, address: Ipv4Address) {
        self.dead.retain(|dead| *dead != address);
    }

    pub fn deadline(&self) -> Option<Instant> {
        let claim = self.claim.as_ref().and_then(Claim::deadline);
        let client = self.client.as_ref().and_then(|client| client.deadline());
        claim.into_iter().chain(client).min()
    }

    pub fn link_up(&mut self, now: Instant) {
        if let Some(claim) = &mut self.claim {
            claim.announce_again(now);
        }
        if let Some(client) = &mut self.client {
            client.link_up(now);
        }
    }

    /// Takes an address; one that the host has already gets new parameters.
    fn claim(&mut self, config: Ipv4Config, now: Instant) {
        let address = config.address.address();
        if self.claim.as_ref().map(Claim::address) != Some(address) {
            let random = self.random.fork();
            self.claim = Some(Claim::new(address, self.detection, random, now));
        }
        self.dead.retain(|it| config.is_router(*it));
        self.config = Some(config);
    }

    fn lose(&mut self) {
        (self.config, self.claim) = (None, None);
        self.dead.clear();
    }
}

impl Host {
    /// Does what is due for the address.
    pub(super) fn maintain_ipv4(&mut self, wire: &mut Wire, now: Instant) {
        if let Some(client) = &mut self.ipv4.client {
            client.poll(now);
        }
        self.run_client(wire, now);
        while let Some(step) = self.ipv4.claim.as_mut().and_then(|claim| claim.poll(now)) {
            match step {
                Step::Use(_) => self.changed = true,
                Step::Probe(address) => self.broadcast_arp(wire, Ipv4Address::UNSPECIFIED, address),
                Step::Announce(address) => self.broadcast_arp(wire, address, address),
            }
        }
    }

    /// Looks for another host that uses this one's address, or is about to (RFC 5227, sections 2.1.1 and 2.4).
    pub(super) fn detect_conflict(
        &mut self,
        wire: &mut Wire,
        (sender, target): (Ipv4Address, Ipv4Address),
        hardware: EthernetAddress,
        now: Instant,
    ) {
        let Some(claim) = &mut self.ipv4.claim else {
            return;
        };
        let address = claim.address();
        let probes = sender.is_unspecified() && target == address;
        if sender != address && !probes {
            return;
        }
        match claim.conflict(probes, now) {
            None => {}
            Some(Conflict::Taken) => {
                self.notices
                    .push(HostNotice::Taken { address, hardware }, now);
                match &mut self.ipv4.client {
                    Some(client) => {
                        client.decline(now);
                        self.ipv4.lose();
                        self.run_client(wire, now);
                    }
                    None => claim.retry_later(now),
                }
            }
            Some(conflict) => {
                self.notices
                    .push(HostNotice::Conflict { address, hardware }, now);
                if conflict == Conflict::Defend {
                    self.broadcast_arp(wire, address, address);
                }
            }
        }
    }

    /// Whether a datagram is for the DHCP client.
    pub(super) fn is_for_dhcp(&self, datagram: &[u8]) -> bool {
        let ports = UdpPacket::new_checked(datagram).map(|it| (it.src_port(), it.dst_port()));
        self.ipv4.client.is_some() && ports == Ok((SERVER_PORT, CLIENT_PORT))
    }

    pub(super) fn receive_dhcp<'a>(
        &mut self,
        wire: &mut Wire,
        hardware: EthernetAddress,
        packet: &Ipv4Packet<&'a [u8]>,
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        let source = packet.src_addr();
        let datagram = check_udp(source, packet.dst_addr(), packet.payload())?;
        if let Some(client) = &mut self.ipv4.client {
            client.receive(datagram.payload(), source, now);
        }
        if let Some(server) = self.run_client(wire, now)
            && self.next_hop(server.into()) == Some(server.into())
        {
            // A server on the link needs no ARP request for the first renewal.
            self.arp.heard(server, hardware, true, now);
        }
        Ok(Received::Handled)
    }

    /// Does what the DHCP client wants. Returns the server of a lease that it has got.
    fn run_client(&mut self, wire: &mut Wire, now: Instant) -> Option<Ipv4Address> {
        let mut server = None;
        while let Some(output) = self.ipv4.client.as_mut().and_then(|it| it.output()) {
            match output {
                Output::Send { message, from, to } => self.send_dhcp(wire, &message, from, to, now),
                Output::Notice(notice) => self.notices.push(notice, now),
                Output::Lost => {
                    self.ipv4.lose();
                    self.changed = true;
                }
                Output::Bound(lease) => {
                    server = Some(lease.server);
                    self.ipv4.claim(lease.config, now);
                    self.changed = true;
                }
            }
        }
        server
    }

    fn send_dhcp(
        &mut self,
        wire: &mut Wire,
        message: &[u8],
        from: Ipv4Address,
        to: Option<Ipv4Address>,
        now: Instant,
    ) {
        let destination = to.unwrap_or(BROADCAST);
        let length = UDP_HEADER + message.len();
        let total = IPV4_HEADER + length;
        let build = |packet: &mut [u8]| {
            let (header, datagram) = packet.split_at_mut(IPV4_HEADER);
            write_ipv4(header, (from, destination), IpProtocol::Udp, length, None);
            write_udp(datagram, (from, destination), message);
        };
        match to.map(|to| self.next_hop(to.into())) {
            None => {
                let all = EthernetAddress::BROADCAST;
                self.transmit_to(wire, all, EthernetProtocol::Ipv4, total, build);
            }
            Some(Some(hop)) => {
                self.transmit(wire, hop, total, Waits::Packet, now, build);
            }
            // The server cannot be reached; any server is asked later.
            Some(None) => {}
        }
    }

    fn broadcast_arp(&self, wire: &mut Wire, sender: Ipv4Address, target: Ipv4Address) {
        let request = self.arp_request(sender, target);
        self.transmit_arp(wire, EthernetAddress::BROADCAST, &request);
    }
}

/// Writes a datagram from the client's port to the server's.
fn write_udp(
    datagram: &mut [u8],
    (source, destination): (Ipv4Address, Ipv4Address),
    message: &[u8],
) {
    let length = datagram.len();
    let (header, payload) = datagram.split_at_mut(UDP_HEADER);
    let mut packet = UdpPacket::new_unchecked(&mut *header);
    packet.set_src_port(CLIENT_PORT);
    packet.set_dst_port(SERVER_PORT);
    packet.set_len(length as u16);
    packet.set_checksum(0);
    let (source, destination) = (source.into(), destination.into());
    let mut checksum = pseudo_header(source, destination, IpProtocol::Udp, length);
    checksum.add(header);
    checksum.copy(payload, message);
    let checksum = match checksum.finish() {
        // RFC 768: zero means that there is none.
        0 => 0xffff,
        checksum => checksum,
    };
    UdpPacket::new_unchecked(header).set_checksum(checksum);
}
