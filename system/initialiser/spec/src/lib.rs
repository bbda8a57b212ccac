//! The resolved system that the initialiser reads
