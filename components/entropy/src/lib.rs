//! component entropy
