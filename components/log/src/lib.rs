//! Log lines
