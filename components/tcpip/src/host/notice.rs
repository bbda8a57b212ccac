//! Notices about the network, for the log.

use alloc::collections::VecDeque;
use core::fmt;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use super::dhcp::{LeaseFlaw, LeaseRefusal};
use super::ipv6::Ipv6Notice;
use super::limit::TokenBucket;

/// Notices of one kind at once, and one more each interval: others can cause them.
const BURST: u32 = 4;
const INTERVAL: Duration = Duration::from_secs(15);
/// Notices that have not been taken yet, at most.
const WAITING: usize = 32;

/// A notice about the network for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostNotice {
    /// Another station uses this host's address, which is defended (RFC 5227, section 2.4).
    Conflict {
        /// The address.
        address: Ipv4Address,
        /// The other station.
        hardware: EthernetAddress,
    },
    /// Another station has the address that this host was to use (RFC 5227, section 2.1.1).
    Taken {
        /// The address.
        address: Ipv4Address,
        /// The other station.
        hardware: EthernetAddress,
    },
    /// No DHCP server has answered so far.
    NoServer,
    /// A DHCP server's message is unusable.
    Refused {
        /// The server's identifier, or where the message came from.
        server: Ipv4Address,
        /// Why.
        reason: LeaseRefusal,
    },
    /// A part of a DHCP server's message is unusable; the rest is used.
    Flaw {
        /// The server's identifier.
        server: Ipv4Address,
        /// The part.
        part: LeaseFlaw,
    },
    /// A DHCP server withdrew or denied the address (DHCPNAK).
    Denied {
        /// The server's identifier, or where the message came from.
        server: Ipv4Address,
    },
    /// No DHCP server renewed the lease in time.
    Expired {
        /// The address that the host no longer has.
        address: Ipv4Address,
    },
    /// Something about IPv6.
    Ipv6(Ipv6Notice),
    /// Notices that were left out because there were too many of their kind.
    LeftOut(u64),
}

impl fmt::Display for HostNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { address, hardware } => {
                write!(
                    f,
                    "address conflict: {hardware} also uses {address}; defending it"
                )
            }
            Self::Taken { address, hardware } => {
                write!(
                    f,
                    "address conflict: {hardware} has {address}; not using it"
                )
            }
            Self::NoServer => f.write_str("no DHCP server answers; still trying"),
            Self::Refused { server, reason } => {
                write!(f, "DHCP: refused a lease from {server}: {reason}")
            }
            Self::Flaw { server, part } => write!(f, "DHCP: lease from {server}: {part}"),
            Self::Denied { server } => {
                write!(f, "DHCP: {server} denied the address; starting again")
            }
            Self::Expired { address } => write!(f, "DHCP: the lease of {address} has expired"),
            Self::Ipv6(notice) => notice.fmt(f),
            Self::LeftOut(count) => write!(f, "{count} similar network messages left out"),
        }
    }
}

impl HostNotice {
    /// Kinds have a limit each.
    const KINDS: usize = 8 + Ipv6Notice::KINDS;

    fn kind(&self) -> usize {
        match self {
            Self::Conflict { .. } => 0,
            Self::Taken { .. } => 1,
            Self::NoServer => 2,
            Self::Refused { .. } => 3,
            Self::Flaw { .. } => 4,
            Self::Denied { .. } => 5,
            Self::Expired { .. } => 6,
            Self::LeftOut(_) => 7,
            Self::Ipv6(notice) => 8 + notice.kind(),
        }
    }
}

/// Notices to be taken, and how many of each kind may come.
pub(super) struct Notices {
    waiting: VecDeque<HostNotice>,
    limits: [TokenBucket; HostNotice::KINDS],
    left_out: u64,
}

impl Notices {
    pub fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            limits: [TokenBucket::new(BURST, INTERVAL); HostNotice::KINDS],
            left_out: 0,
        }
    }

    /// Adds a notice, or counts it if there were too many.
    pub fn push(&mut self, notice: HostNotice, now: Instant) {
        if self.waiting.len() >= WAITING || !self.limits[notice.kind()].take(now) {
            self.left_out += 1;
            return;
        }
        if self.left_out > 0 {
            let count = core::mem::take(&mut self.left_out);
            self.waiting.push_back(HostNotice::LeftOut(count));
        }
        self.waiting.push_back(notice);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<HostNotice> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_notices_of_a_kind_are_counted() {
        let mut notices = Notices::new();
        let denied = HostNotice::Denied {
            server: Ipv4Address::new(10, 0, 2, 2),
        };
        for second in 0..14 {
            notices.push(denied.clone(), Instant::from_secs(second));
        }
        let taken: Vec<_> = core::iter::from_fn(|| notices.pop()).collect();
        assert_eq!(taken, vec![denied.clone(); 4]);
        notices.push(HostNotice::NoServer, Instant::from_secs(14));
        assert_eq!(notices.pop(), Some(HostNotice::LeftOut(10)));
        assert_eq!(notices.pop(), Some(HostNotice::NoServer));
    }
}
