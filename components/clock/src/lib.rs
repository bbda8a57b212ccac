//! component clock
