//! Notices about IPv6 for the operator.

use core::fmt;

use smoltcp::wire::{EthernetAddress, Ipv6Address};

/// A notice about IPv6 for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipv6Notice {
    /// Another station has the address that this host was about to use; it is given up (RFC 4429, RFC 4862).
    Duplicate {
        /// The address.
        address: Ipv6Address,
        /// The other station.
        hardware: EthernetAddress,
    },
    /// Another station has the link-local address, so IPv6 is off (RFC 4862, section 5.4.5).
    Disabled {
        /// The address.
        address: Ipv6Address,
        /// The other station.
        hardware: EthernetAddress,
    },
    /// No other station has an address any longer that one had: it is used.
    Regained {
        /// The address.
        address: Ipv6Address,
    },
    /// Another station advertises an address that this host has had for longer.
    Conflict {
        /// The address.
        address: Ipv6Address,
        /// The other station.
        hardware: EthernetAddress,
    },
    /// A router advertises more prefixes than the host notes.
    TooManyPrefixes {
        /// The router.
        router: Ipv6Address,
        /// Prefixes of its advertisement that are not used.
        ignored: usize,
    },
    /// There are more routers than the host notes.
    TooManyRouters {
        /// The one that is not used.
        router: Ipv6Address,
    },
    /// A router advertises a hop limit that would keep packets from their destinations.
    HopLimit {
        /// The router.
        router: Ipv6Address,
        /// The value that is not used.
        limit: u8,
    },
    /// A default router does not answer.
    RouterSilent {
        /// The router.
        router: Ipv6Address,
        /// The router that is used now.
        other: Option<Ipv6Address>,
    },
    /// The valid lifetime of an address is over.
    Expired {
        /// The address that the host no longer has.
        address: Ipv6Address,
    },
    /// After an interruption the link is another network: what is known of the one before is dropped.
    Moved,
}

impl Ipv6Notice {
    /// Number of kinds.
    pub(crate) const KINDS: usize = 10;

    /// Returns the number of the notice's kind, less than [`Ipv6Notice::KINDS`].
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::Duplicate { .. } => 0,
            Self::Disabled { .. } => 1,
            Self::Conflict { .. } => 2,
            Self::TooManyPrefixes { .. } => 3,
            Self::TooManyRouters { .. } => 4,
            Self::HopLimit { .. } => 5,
            Self::RouterSilent { .. } => 6,
            Self::Expired { .. } => 7,
            Self::Moved => 8,
            Self::Regained { .. } => 9,
        }
    }
}

impl fmt::Display for Ipv6Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { address, hardware } => write!(
                f,
                "address conflict: {hardware} has {address}; not using it, trying again each minute"
            ),
            Self::Disabled { address, hardware } => write!(
                f,
                "address conflict: {hardware} has {address}, the link-local address; IPv6 is off, trying again each minute"
            ),
            Self::Regained { address } => {
                write!(f, "address conflict has ended: using {address}")
            }
            Self::Conflict { address, hardware } => write!(
                f,
                "address conflict: {hardware} also uses {address}; keeping it"
            ),
            Self::TooManyPrefixes { router, ignored } => write!(
                f,
                "router {router} advertises too many prefixes; {ignored} of them are not used"
            ),
            Self::TooManyRouters { router } => {
                write!(f, "too many routers; {router} is not used")
            }
            Self::HopLimit { router, limit } => write!(
                f,
                "router {router} advertises a hop limit of {limit}, which is too low; not using it"
            ),
            Self::RouterSilent {
                router,
                other: None,
            } => write!(f, "router {router} does not answer"),
            Self::RouterSilent {
                router,
                other: Some(other),
            } => write!(f, "router {router} does not answer; using {other}"),
            Self::Expired { address } => write!(f, "the lifetime of {address} has ended"),
            Self::Moved => f.write_str(
                "the link is another network than before; IPv6 addresses of the one before are dropped",
            ),
        }
    }
}
