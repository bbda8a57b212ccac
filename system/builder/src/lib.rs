//! From a system description to a bootable image

pub mod certificate;
pub mod cli;
pub mod elf;
pub mod pc99;
pub mod programs;
