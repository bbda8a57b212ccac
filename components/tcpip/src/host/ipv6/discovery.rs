//! Received messages of Neighbor Discovery (RFC 4861, sections 6.3.4 and 7.2).

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv6Address};

use super::super::neighbours::{self, Solved};
use super::address::ALL_NODES;
use super::addresses::{Conflict, Formed};
use super::message::{self, Advertisement, Envelope, RouterAdvertisement, Solicitation};
use super::{HOP_LIMIT, Ipv6, Ipv6Notice, MIN_MTU, Network, Output};

/// Lower advertised hop limits are not used: with one packet any neighbour could keep all others from leaving the site
/// (CVE-2015-2922). The longest paths of the Internet have about 32 hops.
const LOWEST_HOP_LIMIT: u8 = 32;
/// After an interruption of the link and the first advertisement: routers answer a solicitation within 0.5 s, and at
/// most once in 3 s (RFC 4861, section 6.2.6). What none of them has advertised until then is of another network.
const ANSWERS: Duration = Duration::from_secs(5);

impl Ipv6 {
    /// Takes an ICMPv6 message of Neighbor Discovery or Multicast Listener Discovery that came from `hardware`.
    pub fn receive(
        &mut self,
        envelope: &Envelope,
        hardware: EthernetAddress,
        router_alert: bool,
        bytes: &[u8],
        now: Instant,
    ) {
        match bytes.first() {
            Some(&message::NEIGHBOR_SOLICITATION) => {
                if let Some(solicitation) = message::solicitation(envelope, bytes) {
                    self.solicited(envelope, hardware, &solicitation, now);
                }
            }
            Some(&message::NEIGHBOR_ADVERTISEMENT) if hardware != self.hardware => {
                if let Some(advertisement) = message::advertisement(envelope, bytes) {
                    self.advertised(hardware, &advertisement, now);
                }
            }
            Some(&message::ROUTER_ADVERTISEMENT) => {
                if let Some(advertisement) = message::router_advertisement(envelope, bytes) {
                    self.router_advertised(envelope.source, &advertisement, now);
                }
            }
            Some(&message::LISTENER_QUERY) => {
                self.listener.query(envelope, router_alert, bytes, now);
            }
            _ => {}
        }
    }

    /// Takes a Neighbor Solicitation (RFC 4861, sections 7.2.3 and 7.2.4).
    fn solicited(
        &mut self,
        envelope: &Envelope,
        hardware: EthernetAddress,
        solicitation: &Solicitation,
        now: Instant,
    ) {
        let Solicitation { target, nonce, .. } = *solicitation;
        let detects = envelope.source.is_unspecified();
        let unique = self.addresses.is_unique(target);
        if detects && !unique && self.addresses.is_watched(target) {
            return self.claimed(target, hardware, nonce, now);
        }
        if !self.is_own(target) {
            return;
        }
        if let Some(hardware) = solicitation.hardware {
            self.heard(envelope.source, hardware, now);
        }
        let destination = match detects {
            true => ALL_NODES,
            false => envelope.source,
        };
        // An optimistic address must not replace what others know (RFC 4429, section 3.3).
        self.advertise(target, destination, !detects, unique, solicitation.hardware);
    }

    /// Takes a Neighbor Advertisement (RFC 4861, section 7.2.5).
    fn advertised(
        &mut self,
        hardware: EthernetAddress,
        advertisement: &Advertisement,
        now: Instant,
    ) {
        let target = advertisement.target;
        if self.addresses.is_watched(target) {
            return self.claimed(target, hardware, None, now);
        }
        let news = neighbours::Advertisement {
            hardware: advertisement.hardware,
            solicited: advertisement.solicited,
            overrides: advertisement.overrides,
        };
        let asked = self.neighbours.is_asked(target);
        let solved = self.neighbours.advertised(target, news, now);
        self.solved(target, advertisement.hardware, solved);
        if self.routers.contains(target) {
            if !advertisement.router {
                self.routers.remove(target);
            } else if advertisement.solicited && asked {
                self.routers.answered(target);
            }
        }
    }

    /// Takes a Router Advertisement (RFC 4861, section 6.3.4).
    fn router_advertised(
        &mut self,
        router: Ipv6Address,
        advertisement: &RouterAdvertisement,
        now: Instant,
    ) {
        if self.network == Network::Unknown {
            self.network = Network::Changing(now + ANSWERS);
            (self.mtu, self.hop_limit) = (self.link_mtu, HOP_LIMIT);
        }
        self.take_parameters(router, advertisement);
        if let Some(hardware) = advertisement.hardware {
            self.heard(router, hardware, now);
        }
        if !self.automatic {
            // The description gives addresses and routes.
            self.solicitations.stop();
            return;
        }
        let RouterAdvertisement {
            lifetime,
            preference,
            ..
        } = *advertisement;
        if !self.routers.advertised(router, lifetime, preference, now) {
            self.notice(Ipv6Notice::TooManyRouters { router });
        }
        if lifetime != Duration::ZERO {
            self.solicitations.stop();
        }
        let mut ignored = 0;
        for information in &advertisement.prefixes {
            let noted = self.prefixes.advertised(information, now);
            let formed = self.addresses.advertised(information, router, now);
            ignored += usize::from(!noted || formed == Formed::Full);
            if let Formed::New(_) = formed {
                self.outputs.push_back(Output::Changed);
            }
        }
        if ignored > 0 {
            self.notice(Ipv6Notice::TooManyPrefixes { router, ignored });
        }
        self.listen(now);
    }

    fn take_parameters(&mut self, router: Ipv6Address, advertisement: &RouterAdvertisement) {
        match advertisement.hop_limit {
            None => {}
            Some(limit) if limit < LOWEST_HOP_LIMIT => {
                self.notice(Ipv6Notice::HopLimit { router, limit });
            }
            Some(limit) => self.hop_limit = limit,
        }
        let RouterAdvertisement {
            reachable,
            retransmission,
            ..
        } = *advertisement;
        self.neighbours.set_times(reachable, retransmission);
        if let Some(time) = retransmission {
            self.addresses.set_retransmission(time);
        }
        let possible = |mtu: &u16| (MIN_MTU..=self.link_mtu).contains(mtu);
        let mtu = advertisement.mtu.and_then(|mtu| u16::try_from(mtu).ok());
        self.mtu = mtu.filter(possible).unwrap_or(self.mtu);
    }

    /// Notes the link-layer address of the sender of a message.
    fn heard(&mut self, address: Ipv6Address, hardware: EthernetAddress, now: Instant) {
        if address.is_unspecified() || self.is_own(address) {
            return;
        }
        let solved = self.neighbours.heard(address, hardware, true, now);
        self.solved(address, Some(hardware), solved);
    }

    fn solved(
        &mut self,
        address: Ipv6Address,
        hardware: Option<EthernetAddress>,
        solved: Option<Solved>,
    ) {
        let (Some(hardware), Some(solved)) = (hardware, solved) else {
            return;
        };
        self.routers.answered(address);
        if solved.awaited && self.routers.contains(address) {
            // A connection may wait for any of the routers: the source decides which one it uses.
            let others = self.routers.all().filter(|it| *it != address);
            self.outputs.extend(others.map(Output::Retry));
        }
        self.outputs.push_back(Output::Solved {
            address,
            hardware,
            solved,
        });
    }

    /// Handles a claim of another host to an address of this host.
    fn claimed(
        &mut self,
        address: Ipv6Address,
        hardware: EthernetAddress,
        nonce: Option<message::Nonce>,
        now: Instant,
    ) {
        let notice = match self.addresses.claimed(address, nonce, now) {
            None => return self.listen(now),
            Some(Conflict::Defended) => Ipv6Notice::Conflict { address, hardware },
            Some(Conflict::GivenUp) => Ipv6Notice::Duplicate { address, hardware },
            Some(Conflict::Disabled) => Ipv6Notice::Disabled { address, hardware },
        };
        if !matches!(notice, Ipv6Notice::Conflict { .. }) {
            self.outputs.push_back(Output::Changed);
            self.listen(now);
        }
        self.notice(notice);
    }
}
