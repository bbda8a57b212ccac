//! seL4 system calls and capability types, with the API of the upstream crate of this name
