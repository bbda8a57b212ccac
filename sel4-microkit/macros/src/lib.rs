//! The attribute macro protection_domain
