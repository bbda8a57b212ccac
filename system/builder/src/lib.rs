//! From a system description to a bootable image
