//! ARP (RFC 826) as a host has to use it (RFC 1122, section 2.3.2; RFC 5227).

use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol, IpAddress, Ipv4Address,
};

use super::neighbours::{Action, Advertisement};
use super::{Drop, Host, Received, Resolution};
use crate::wire::Wire;

/// Length in bytes of an ARP packet for IPv4 on Ethernet.
const ARP_LENGTH: usize = 28;

impl Host {
    /// Takes an ARP packet.
    pub(super) fn receive_arp<'a>(
        &mut self,
        wire: &mut Wire,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Received<'a>, Drop> {
        let packet = ArpPacket::new_checked(bytes).map_err(|_| Drop::Malformed)?;
        let repr = ArpRepr::parse(&packet).map_err(|_| Drop::Malformed)?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: hardware,
            source_protocol_addr: sender,
            target_protocol_addr: target,
            ..
        } = repr
        else {
            return Err(Drop::Malformed);
        };
        // RFC 1812, section 3.3.2: a link-layer address is not a group's.
        if !hardware.is_unicast() || hardware == self.hardware {
            return Err(Drop::Martian);
        }
        self.detect_conflict(wire, (sender, target), hardware, now);
        let Some(own) = self.ipv4_address() else {
            return Ok(Received::Handled);
        };
        let asks = operation == ArpOperation::Request && target == own;
        if sender != own && super::ipv4::is_host_address(sender) {
            self.learn(wire, sender, hardware, operation, asks, now);
        }
        // A sender of 0.0.0.0 probes whether the address is in use (RFC 5227, section 2.1.1); one outside the subnet gets
        // its answer too (RFC 826 looks at the target only).
        if asks && sender != own && self.limits.neighbour_replies.take(now) {
            let reply = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: self.hardware,
                source_protocol_addr: own,
                target_hardware_addr: hardware,
                target_protocol_addr: sender,
            };
            self.transmit_arp(wire, hardware, &reply);
        }
        Ok(Received::Handled)
    }

    /// Notes the sender's link-layer address. Unsolicited replies and announcements only change
    /// known entries.
    fn learn(
        &mut self,
        wire: &mut Wire,
        sender: Ipv4Address,
        hardware: EthernetAddress,
        operation: ArpOperation,
        asks: bool,
        now: Instant,
    ) {
        self.ipv4.set_alive(sender);
        let solved = match operation {
            ArpOperation::Reply if self.arp.is_asked(sender) => {
                let advertisement = Advertisement {
                    hardware: Some(hardware),
                    solicited: true,
                    overrides: true,
                };
                self.arp.advertised(sender, advertisement, now)
            }
            _ => {
                // A router or a host of the subnet: nothing is sent directly to others.
                let create = asks && self.next_hop(sender.into()) == Some(sender.into());
                self.arp.heard(sender, hardware, create, now)
            }
        };
        if let Some(solved) = solved {
            self.solved(wire, sender.into(), hardware, solved);
        }
    }

    /// Sends the requests that are due.
    pub(super) fn ask_arp(&mut self, wire: &mut Wire, now: Instant) {
        while let Some(action) = self.arp.poll(now) {
            match action {
                Action::Ask { address, known } => {
                    let Some(own) = self.ipv4_address() else {
                        continue;
                    };
                    let request = self.arp_request(own, address);
                    let to = known.unwrap_or(EthernetAddress::BROADCAST);
                    self.transmit_arp(wire, to, &request);
                }
                Action::Failed { address, awaited } => {
                    self.ipv4.set_dead(address);
                    if awaited {
                        let address = IpAddress::from(address);
                        self.resolutions.push_back(Resolution::Failed(address));
                    }
                }
            }
        }
    }

    /// Returns an ARP request.
    pub(super) fn arp_request(&self, sender: Ipv4Address, target: Ipv4Address) -> ArpRepr {
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: self.hardware,
            source_protocol_addr: sender,
            target_hardware_addr: EthernetAddress::default(),
            target_protocol_addr: target,
        }
    }

    pub(super) fn transmit_arp(&self, wire: &mut Wire, to: EthernetAddress, repr: &ArpRepr) {
        self.transmit_to(wire, to, EthernetProtocol::Arp, ARP_LENGTH, |bytes| {
            repr.emit(&mut ArpPacket::new_unchecked(bytes));
        });
    }
}
