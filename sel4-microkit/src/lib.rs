//! Microkit protection domains, with the API of the upstream crate of this name
