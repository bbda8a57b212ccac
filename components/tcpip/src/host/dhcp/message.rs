//! DHCP messages: what the client sends, and the options of what it receives (RFC 2131, section 2; RFC 2132).

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::wire::{ArpHardware, DhcpFlags, DhcpOpCode, DhcpPacket, EthernetAddress, Ipv4Address};

/// Options (RFC 2132; RFC 3442 for classless static routes).
pub(super) const SUBNET_MASK: u8 = 1;
pub(super) const ROUTER: u8 = 3;
const DOMAIN_NAME_SERVER: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN_NAME: u8 = 15;
pub(super) const INTERFACE_MTU: u8 = 26;
const BROADCAST_ADDRESS: u8 = 28;
const REQUESTED_ADDRESS: u8 = 50;
pub(super) const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
pub(super) const SERVER_IDENTIFIER: u8 = 54;
const PARAMETER_REQUEST_LIST: u8 = 55;
const MAX_MESSAGE_SIZE: u8 = 57;
pub(super) const RENEWAL_TIME: u8 = 58;
pub(super) const REBINDING_TIME: u8 = 59;
const CLIENT_IDENTIFIER: u8 = 61;
pub(super) const CLASSLESS_ROUTES: u8 = 121;
const PAD: u8 = 0;
const END: u8 = 255;

/// The parameters that the client requests. Classless routes come before the router, as RFC 3442 wants.
const PARAMETERS: [u8; 11] = [
    SUBNET_MASK,
    CLASSLESS_ROUTES,
    ROUTER,
    DOMAIN_NAME_SERVER,
    DOMAIN_NAME,
    INTERFACE_MTU,
    BROADCAST_ADDRESS,
    LEASE_TIME,
    SERVER_IDENTIFIER,
    RENEWAL_TIME,
    REBINDING_TIME,
];

/// Where the fields `sname` and `file` and the options lie, in bytes.
const SNAME: core::ops::Range<usize> = 44..108;
const FILE: core::ops::Range<usize> = 108..236;
const OPTIONS: usize = 240;
/// Old relays and servers want messages as long as BOOTP's (RFC 1542, section 2.1).
const MIN_LENGTH: usize = 300;
/// The first bytes of the options (RFC 2131, section 3).
const MAGIC: u32 = 0x6382_5363;
/// The longest message that the client takes, in bytes with IP and UDP headers: a frame's.
const MAX_SIZE: u16 = 1500;

/// Message types (RFC 2132, section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
}

/// A message to send (RFC 2131, table 5).
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub kind: Kind,
    pub transaction: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    pub hardware: EthernetAddress,
    /// The client's address, if it answers ARP for it: `ciaddr`.
    pub client: Ipv4Address,
    pub requested: Option<Ipv4Address>,
    pub server: Option<Ipv4Address>,
    pub host_name: &'a str,
}

impl Request<'_> {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS];
        let mut packet = DhcpPacket::new_unchecked(&mut bytes[..]);
        packet.set_opcode(DhcpOpCode::Request);
        packet.set_hardware_type(ArpHardware::Ethernet);
        packet.set_hardware_len(6);
        packet.set_transaction_id(self.transaction);
        packet.set_secs(self.seconds);
        packet.set_flags(DhcpFlags::empty());
        packet.set_client_ip(self.client);
        packet.set_client_hardware_address(self.hardware);
        packet.set_magic_number(MAGIC);

        let mut add = |code: u8, value: &[u8]| {
            bytes.extend([code, value.len() as u8]);
            bytes.extend_from_slice(value);
        };
        add(MESSAGE_TYPE, &[self.kind as u8]);
        let [a, b, c, d, e, f] = self.hardware.0;
        add(CLIENT_IDENTIFIER, &[1, a, b, c, d, e, f]);
        if let Some(address) = self.requested {
            add(REQUESTED_ADDRESS, &address.octets());
        }
        if let Some(server) = self.server {
            add(SERVER_IDENTIFIER, &server.octets());
        }
        if self.kind != Kind::Decline {
            add(MAX_MESSAGE_SIZE, &MAX_SIZE.to_be_bytes());
            if !self.host_name.is_empty() {
                add(HOST_NAME, self.host_name.as_bytes());
            }
            add(PARAMETER_REQUEST_LIST, &PARAMETERS);
        }
        bytes.push(END);
        bytes.resize(bytes.len().max(MIN_LENGTH), PAD);
        bytes
    }
}

/// A received message.
#[derive(Clone, Debug)]
pub(super) struct Reply<'a> {
    pub kind: Kind,
    pub transaction: u32,
    /// The client's address, from the server: `yiaddr`.
    pub yours: Ipv4Address,
    options: [&'a [u8]; 3],
}

/// Why bytes are no message for this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyError {
    /// Of another client, or not DHCP.
    NotOurs,
    /// An option is longer than its field.
    Malformed { transaction: u32 },
}

impl<'a> Reply<'a> {
    /// Reads a message to the client with this link-layer address.
    pub fn parse(bytes: &'a [u8], hardware: EthernetAddress) -> Result<Self, ReplyError> {
        let packet = DhcpPacket::new_checked(bytes).map_err(|_| ReplyError::NotOurs)?;
        let ours = packet.opcode() == DhcpOpCode::Reply
            && packet.hardware_len() == 6
            && packet.client_hardware_address() == hardware
            && packet.magic_number() == MAGIC;
        let options = bytes.get(OPTIONS..).filter(|_| ours);
        let options = options.ok_or(ReplyError::NotOurs)?;
        let transaction = packet.transaction_id();
        let malformed = ReplyError::Malformed { transaction };
        let mut reply = Self {
            kind: Kind::Nak,
            transaction,
            yours: packet.your_ip(),
            options: [options, &[], &[]],
        };
        let overload = reply.get(OVERLOAD).ok_or(malformed)?;
        let overload = overload.first().copied().unwrap_or(0);
        // RFC 2131, section 4.1: first the options, then `file`, then `sname`.
        if overload & 1 != 0 {
            reply.options[1] = &bytes[FILE];
        }
        if overload & 2 != 0 {
            reply.options[2] = &bytes[SNAME];
        }
        reply.kind = match reply.get(MESSAGE_TYPE).ok_or(malformed)?[..] {
            [2] => Kind::Offer,
            [5] => Kind::Ack,
            [6] => Kind::Nak,
            _ => return Err(ReplyError::NotOurs),
        };
        Ok(reply)
    }

    /// Returns the value of an option, in one piece if it was split (RFC 3396); empty if it is missing.
    pub fn option(&self, code: u8) -> Vec<u8> {
        self.get(code).unwrap_or_default()
    }

    /// Returns the option that is an address.
    pub fn address(&self, code: u8) -> Option<Ipv4Address> {
        match self.option(code)[..] {
            [a, b, c, d] => Some(Ipv4Address::new(a, b, c, d)),
            _ => None,
        }
    }

    /// Returns the option that is a number of seconds.
    pub fn seconds(&self, code: u8) -> Option<u32> {
        self.option(code).try_into().ok().map(u32::from_be_bytes)
    }

    /// As [`Reply::option`]; `None` if an option is longer than what holds it.
    fn get(&self, wanted: u8) -> Option<Vec<u8>> {
        let mut value = vec![];
        for mut options in self.options {
            while let [code, rest @ ..] = options {
                options = rest;
                match *code {
                    PAD => {}
                    END => break,
                    code => {
                        let (length, rest) = rest.split_first()?;
                        let (part, rest) = rest.split_at_checked((*length).into())?;
                        if code == wanted {
                            value.extend_from_slice(part);
                        }
                        options = rest;
                    }
                }
            }
        }
        Some(value)
    }
}
