//! From a system description to a bootable image

pub mod certificate;
pub mod cli;
