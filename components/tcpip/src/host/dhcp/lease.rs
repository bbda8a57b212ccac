//! Leases: the parameters that a server grants, checked (RFC 2131, section 4.4.1; RFC 2132).

use alloc::vec::Vec;
use core::fmt;

use smoltcp::time::Duration;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use super::message::{
    CLASSLESS_ROUTES, INTERFACE_MTU, LEASE_TIME, REBINDING_TIME, RENEWAL_TIME, ROUTER, Reply,
    SERVER_IDENTIFIER, SUBNET_MASK,
};
use crate::host::ipv4::{Ipv4Config, Route, is_host_address, is_host_part_reserved};
use crate::host::paths::MIN_IPV4;

/// The shortest lease that is taken, in seconds: with less, the client would do little else than renew it.
const MIN_LEASE: u32 = 5;
/// Maximum number of routers that are used.
const MAX_ROUTERS: usize = 4;
/// Maximum number of classless static routes that are used.
const MAX_ROUTES: usize = 16;
/// A lease without end (RFC 2131, section 3.3).
const INFINITE: u32 = u32::MAX;

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The address and what belongs to it.
    pub config: Ipv4Config,
    /// The server's identifier.
    pub server: Ipv4Address,
    /// Duration of the lease; `None`: without end.
    pub times: Option<Times>,
}

/// Times since the request that the server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// T1, when the client requests a renewal from the server.
    pub renew: Duration,
    /// T2, when the client requests a renewal from any server.
    pub rebind: Duration,
    /// The end of the lease, after which the address must not be used.
    pub end: Duration,
}

/// Why a lease is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseRefusal {
    /// The message's options contradict its length.
    Malformed,
    /// The message does not say which server it is from.
    NoServerIdentifier,
    /// No host can have this address.
    Address(Ipv4Address),
    /// The subnet mask is not four bytes of ones followed by zeros.
    Mask(Vec<u8>),
    /// The message does not say how long the lease holds.
    NoLeaseTime,
    /// The lease is too short, in seconds.
    ShortLease(u32),
    /// The server acknowledged another address than the one asked for.
    OtherAddress(Ipv4Address),
}

/// A part of a lease that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseFlaw {
    /// There is no subnet mask; this prefix length is used.
    NoMask(u8),
    /// The routers are not addresses of hosts.
    Router,
    /// The classless static routes are malformed or more than 16.
    Routes,
    /// The MTU is too small.
    Mtu(u16),
}

impl fmt::Display for LeaseRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("its options are malformed"),
            Self::NoServerIdentifier => f.write_str("it has no server identifier (option 54)"),
            Self::Address(address) => write!(f, "no host can have the address {address}"),
            Self::Mask(bytes) => {
                f.write_str("the subnet mask ")?;
                for (index, byte) in bytes.iter().take(8).enumerate() {
                    write!(f, "{}{byte}", if index > 0 { "." } else { "" })?;
                }
                f.write_str(" is not valid")
            }
            Self::NoLeaseTime => f.write_str("it has no lease time (option 51)"),
            Self::ShortLease(seconds) => {
                write!(
                    f,
                    "its time is {seconds} s; at least {MIN_LEASE} s are needed"
                )
            }
            Self::OtherAddress(address) => {
                write!(f, "it is for {address}, not the address asked for")
            }
        }
    }
}

impl fmt::Display for LeaseFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMask(length) => write!(f, "no subnet mask (option 1); using /{length}"),
            Self::Router => f.write_str("ignored its router (option 3), no address of a host"),
            Self::Routes => write!(
                f,
                "ignored classless routes (option 121) that are malformed or more than {MAX_ROUTES}"
            ),
            Self::Mtu(mtu) => write!(f, "ignored its MTU of {mtu} bytes (option 26), too small"),
        }
    }
}

impl Lease {
    /// Reads the lease in an offer or an acknowledgment. What a renewal leaves out is taken from the former lease (RFC
    /// 2131, section 4.4.5).
    ///
    /// # Errors
    /// [`LeaseRefusal`] if it cannot be used.
    pub(super) fn new(
        reply: &Reply<'_>,
        former: Option<&Self>,
    ) -> Result<(Self, Vec<LeaseFlaw>), LeaseRefusal> {
        let mut ignored = Vec::new();
        let server = reply.address(SERVER_IDENTIFIER);
        let server = server.or(former.map(|former| former.server));
        let server = server
            .filter(|server| is_host_address(*server))
            .ok_or(LeaseRefusal::NoServerIdentifier)?;
        let seconds = reply.seconds(LEASE_TIME).ok_or(LeaseRefusal::NoLeaseTime)?;
        if seconds < MIN_LEASE {
            return Err(LeaseRefusal::ShortLease(seconds));
        }
        if !is_host_address(reply.yours) {
            return Err(LeaseRefusal::Address(reply.yours));
        }
        if former.is_some_and(|former| former.config.address.address() != reply.yours) {
            return Err(LeaseRefusal::OtherAddress(reply.yours));
        }
        let former = former.map(|former| &former.config);
        let routes = routes(reply, former, &mut ignored);
        let prefix = prefix_length(reply, former, &routes, &mut ignored)?;
        if is_host_part_reserved(prefix, reply.yours) {
            return Err(LeaseRefusal::Address(reply.yours));
        }
        let config = Ipv4Config {
            address: Ipv4Cidr::new(reply.yours, prefix),
            routes,
            mtu: mtu(reply, former, &mut ignored),
        };
        let times = (seconds != INFINITE).then(|| Times::new(reply, seconds));
        let lease = Self {
            config,
            server,
            times,
        };
        Ok((lease, ignored))
    }
}

impl Times {
    /// Returns T1 and T2: as the server requests, or half and seven eighths of the lease (RFC 2131,
    /// section 4.4.5).
    fn new(reply: &Reply<'_>, seconds: u32) -> Self {
        let end = Duration::from_secs(seconds.into());
        let wanted = |code| reply.seconds(code).map(|it| Duration::from_secs(it.into()));
        let rebind = wanted(REBINDING_TIME).filter(|it| *it < end);
        let rebind = rebind.unwrap_or(end * 7 / 8);
        let renew = wanted(RENEWAL_TIME).filter(|it| *it < rebind && *it > Duration::ZERO);
        let renew = renew.unwrap_or((end / 2).min(rebind));
        Self { renew, rebind, end }
    }
}

/// Returns the subnet mask as a prefix length. Without a mask it is 32 if there is a router, so
/// that no address is wrongly assumed to be on the link; otherwise it is that of the address's
/// class (RFC 1122, section 3.2.1.3).
fn prefix_length(
    reply: &Reply<'_>,
    former: Option<&Ipv4Config>,
    routes: &[Route],
    ignored: &mut Vec<LeaseFlaw>,
) -> Result<u8, LeaseRefusal> {
    let option = reply.option(SUBNET_MASK);
    if option.is_empty() {
        return Ok(former.map_or_else(
            || {
                let prefix = match (routes, reply.yours.octets()[0]) {
                    ([_, ..], _) => 32,
                    (_, 0..128) => 8,
                    (_, 128..192) => 16,
                    _ => 24,
                };
                ignored.push(LeaseFlaw::NoMask(prefix));
                prefix
            },
            |former| former.address.prefix_len(),
        ));
    }
    let mask = <[u8; 4]>::try_from(&option[..]).map(u32::from_be_bytes);
    match mask {
        Ok(mask) if mask != 0 && mask.leading_ones() + mask.trailing_zeros() == 32 => {
            Ok(mask.leading_ones() as u8)
        }
        _ => Err(LeaseRefusal::Mask(option)),
    }
}

/// Returns the classless static routes, which replace the routers (RFC 3442), or else the routers
/// in their order (RFC 2132, section 3.5).
fn routes(
    reply: &Reply<'_>,
    former: Option<&Ipv4Config>,
    ignored: &mut Vec<LeaseFlaw>,
) -> Vec<Route> {
    let classless = reply.option(CLASSLESS_ROUTES);
    let routers = reply.option(ROUTER);
    if classless.is_empty() && routers.is_empty() {
        return former.map_or(Vec::new(), |former| former.routes.clone());
    }
    if !classless.is_empty() {
        match classless_routes(&classless) {
            Some(routes) => return routes,
            None => ignored.push(LeaseFlaw::Routes),
        }
    }
    let mut config = Ipv4Config::new(Ipv4Cidr::new(reply.yours, 32), None);
    let addresses = routers.chunks_exact(4);
    let addresses = addresses.map(|it| Ipv4Address::new(it[0], it[1], it[2], it[3]));
    let usable = |it: &Ipv4Address| is_host_address(*it) && *it != reply.yours;
    for router in addresses.filter(usable).take(MAX_ROUTERS) {
        config.add_router(router);
    }
    if config.routes.is_empty() && !routers.is_empty() || !routers.len().is_multiple_of(4) {
        ignored.push(LeaseFlaw::Router);
    }
    config.routes
}

/// Reads classless static routes (RFC 3442): a prefix length, the prefix's significant bytes, and a
/// router, 0.0.0.0 for "on the link".
fn classless_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [length @ 0..=32, rest @ ..] = bytes {
        let (prefix, rest) = rest.split_at_checked(usize::from(length.div_ceil(8)))?;
        let (router, rest) = rest.split_at_checked(4)?;
        let mut destination = [0; 4];
        destination[..prefix.len()].copy_from_slice(prefix);
        let router = Ipv4Address::new(router[0], router[1], router[2], router[3]);
        if !router.is_unspecified() && !is_host_address(router) || routes.len() == MAX_ROUTES {
            return None;
        }
        routes.push(Route {
            destination: Ipv4Cidr::new(destination.into(), *length),
            router: (!router.is_unspecified()).then_some(router),
        });
        bytes = rest;
    }
    bytes.is_empty().then_some(routes)
}

fn mtu(
    reply: &Reply<'_>,
    former: Option<&Ipv4Config>,
    ignored: &mut Vec<LeaseFlaw>,
) -> Option<u16> {
    let option = reply.option(INTERFACE_MTU);
    match <[u8; 2]>::try_from(&option[..]).map(u16::from_be_bytes) {
        Ok(mtu) if mtu >= MIN_IPV4 => Some(mtu),
        Ok(mtu) => {
            ignored.push(LeaseFlaw::Mtu(mtu));
            None
        }
        Err(_) => former.and_then(|former| former.mtu),
    }
}
