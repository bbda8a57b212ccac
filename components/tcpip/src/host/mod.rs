//! The IP host: addresses, routes, neighbours, DHCP, router discovery and ICMP, on one Ethernet link.
//!
//! [`Host`] is sans-IO like the rest of the crate: frames go in, frames come out through [`Wire`](crate::wire::Wire), and
//! [`Host::deadline`] says when [`Host::maintain`] wants to run.
