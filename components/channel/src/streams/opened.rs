//! What is said about connections: their description, requests for them, and answers.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::PeerIdentity;
use super::layout::{IDENTITY_WORDS, MESSAGE, OPENED_WORDS};

/// A connection as the provider opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The other end's address and port.
    pub peer: SocketAddr,
    /// This end's port: for a connection that came in, the one that was listened on.
    pub local_port: u16,
    /// What [`Consumer::connect`](super::Consumer::connect) gave, for a connection that was asked for.
    pub token: Option<u32>,
    /// Who the peer is, if the provider has verified it.
    pub identity: Option<PeerIdentity>,
    /// Nobody else is to see what passes: each side overwrites in its ring what the other one is done with.
    pub confidential: bool,
}

impl Opened {
    const HAS_TOKEN: u64 = 1 << 32;
    const HAS_IDENTITY: u64 = 1 << 33;
    const CONFIDENTIAL: u64 = 1 << 34;

    /// Hands each word to `set` with its place, below [`OPENED_WORDS`].
    pub(super) fn write(&self, mut set: impl FnMut(usize, u64)) {
        let [high, low, port] = address_to_words(self.peer);
        let token = self.token.map_or(0, |_| Self::HAS_TOKEN);
        let identity = self.identity.map_or(0, |_| Self::HAS_IDENTITY);
        let confidential = match self.confidential {
            true => Self::CONFIDENTIAL,
            false => 0,
        };
        let length = self.identity.map_or(0, |identity| identity.name_length());
        set(0, high);
        set(1, low);
        set(
            2,
            port | u64::from(self.local_port) << 16 | token | identity | confidential,
        );
        set(
            3,
            u64::from(self.token.unwrap_or(0)) | (length as u64) << 32,
        );
        let words = self.identity.map(PeerIdentity::to_words);
        for (offset, word) in words.into_iter().flatten().enumerate() {
            set(OPENED_WORDS - IDENTITY_WORDS + offset, word);
        }
    }

    /// Loads each word once. `None` when the identity is malformed.
    pub(super) fn read(load: impl Fn(usize) -> u64) -> Option<Self> {
        let [high, low, ports, more] = core::array::from_fn(&load);
        let identity = match ports & Self::HAS_IDENTITY != 0 {
            true => {
                let words = |offset| load(OPENED_WORDS - IDENTITY_WORDS + offset);
                let length = (more >> 32) as usize;
                Some(PeerIdentity::from_words(
                    core::array::from_fn(words),
                    length,
                )?)
            }
            false => None,
        };
        Some(Self {
            peer: address_from_words(high, low, ports),
            local_port: (ports >> 16) as u16,
            token: (ports & Self::HAS_TOKEN != 0).then_some(more as u32),
            identity,
            confidential: ports & Self::CONFIDENTIAL != 0,
        })
    }
}

/// IPv4 addresses are mapped into IPv6 (RFC 4291, section 2.5.5.2).
fn address_to_words(address: SocketAddr) -> [u64; 3] {
    let bits = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64, address.port().into()]
}

fn address_from_words(high: u64, low: u64, port: u64) -> SocketAddr {
    let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    SocketAddr::new(address.to_canonical(), port as u16)
}

/// What a consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Connect(SocketAddr),
    Listen(u16),
}

impl Request {
    const CONNECT: u64 = 1;
    const LISTEN: u64 = 2;

    pub(super) fn to_words(self, token: u32) -> [u64; MESSAGE] {
        let (kind, [high, low, port]) = match self {
            Self::Connect(remote) => (Self::CONNECT, address_to_words(remote)),
            Self::Listen(port) => (Self::LISTEN, [0, 0, port.into()]),
        };
        [kind << 32 | u64::from(token), high, low, port]
    }

    /// The token and the request, if it is of a known kind.
    pub(super) fn from_words([head, high, low, port]: [u64; MESSAGE]) -> Option<(u32, Self)> {
        let request = match head >> 32 {
            Self::CONNECT => Self::Connect(address_from_words(high, low, port)),
            Self::LISTEN => Self::Listen(port as u16),
            _ => return None,
        };
        Some((head as u32, request))
    }
}

/// Why a provider refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The provider does not serve such requests.
    Unsupported,
    /// The description does not allow it, or the port is taken.
    NotAllowed,
    /// No slot or socket is free.
    NoRoom,
    /// The other end refused, could not be reached or did not answer in time.
    Unreachable,
    /// No secure session came about: the other end did not prove who it is, refused this one, or broke the protocol.
    Insecure,
    /// The provider started over before it answered.
    Restarted,
}

impl Refusal {
    const ALL: [Self; 6] = [
        Self::Unsupported,
        Self::NotAllowed,
        Self::NoRoom,
        Self::Unreachable,
        Self::Insecure,
        Self::Restarted,
    ];
}

/// The answer to a request; `Err` holds why not.
pub(super) fn answer_to_words(token: u32, answer: Result<(), Refusal>) -> [u64; MESSAGE] {
    let code = answer.err().map_or(0, |refusal| refusal as u64 + 1);
    [code << 32 | u64::from(token), 0, 0, 0]
}

pub(super) fn answer_from_words([head, ..]: [u64; MESSAGE]) -> Option<(u32, Result<(), Refusal>)> {
    let answer = match (head >> 32) as usize {
        0 => Ok(()),
        code => Err(*Refusal::ALL.get(code - 1)?),
    };
    Some((head as u32, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_requests_and_answers_survive_their_words() {
        for peer in ["192.0.2.7:65535", "[2001:db8::1]:1"] {
            let peer: SocketAddr = peer.parse().unwrap();
            let known = PeerIdentity::new([0xff; 32], "client.example");
            let tokens = [None, Some(0), Some(u32::MAX)];
            for (token, identity) in tokens.into_iter().zip([None, Some(known), Some(known)]) {
                let opened = Opened {
                    peer,
                    local_port: 443,
                    token,
                    identity,
                    confidential: identity.is_some(),
                };
                let mut words = [u64::MAX; OPENED_WORDS];
                opened.write(|offset, word| words[offset] = word);
                assert_eq!(Opened::read(|offset| words[offset]), Some(opened));
            }
            let connect = Request::Connect(peer);
            assert_eq!(Request::from_words(connect.to_words(7)), Some((7, connect)));
        }
        let listen = Request::Listen(80);
        assert_eq!(Request::from_words(listen.to_words(1)), Some((1, listen)));
        for answer in Refusal::ALL.map(Err).into_iter().chain([Ok(())]) {
            let words = answer_to_words(9, answer);
            assert_eq!(answer_from_words(words), Some((9, answer)));
        }
    }

    #[test]
    fn a_malformed_identity_is_none() {
        let words = [u64::MAX; OPENED_WORDS];
        assert_eq!(Opened::read(|offset| words[offset]), None);
    }

    #[test]
    fn unknown_kinds_are_none() {
        assert_eq!(Request::from_words([3 << 32, 0, 0, 0]), None);
        assert_eq!(answer_from_words([7 << 32, 0, 0, 0]), None);
        assert_eq!(answer_from_words([u64::MAX, 0, 0, 0]), None);
    }
}
