//! component tls
