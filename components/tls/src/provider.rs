//! The cryptography that rustls is given.

use alloc::string::ToString;
use alloc::sync::Arc;

use rustls::Error;
use rustls::crypto::{CryptoProvider, KeyProvider, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

use crate::strict;

/// rustls' provider over ring, without private keys: signatures are made by the vault
/// (`VaultKeys`), so the program contains no signing code. Its cipher suites check the records of a
/// handshake more strictly.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        key_provider: &NoKeys,
        cipher_suites: strict::cipher_suites(),
        ..ring::default_provider()
    })
}

#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("private keys are the vault's".to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_private_key_is_taken() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_der();
        let key = PrivateKeyDer::try_from(key).unwrap();
        assert!(
            provider()
                .key_provider
                .load_private_key(key.clone_key())
                .is_err()
        );
        assert!(
            ring::default_provider()
                .key_provider
                .load_private_key(key)
                .is_ok()
        );
    }
}
