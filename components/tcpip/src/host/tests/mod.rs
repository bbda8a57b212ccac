//! The host on a link where the test simulates all other hosts.

mod addresses;
mod arp;
mod icmp;
mod input;
mod neighbours;
