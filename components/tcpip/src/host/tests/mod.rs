//! The host on a link where a test plays all the others.

mod addresses;
mod arp;
mod icmp;
mod input;
mod neighbours;
