//! The vault's keys, and what handshakes are made with.

use alloc::sync::Arc;

use channel::sign::Sign;
use tls::{Client, ConfigError, Server, VaultKeys};

use crate::glue::{WallClock, options};
use crate::trust;

/// What handshakes are made with in both roles, as the wiring says, with these keys.
///
/// # Errors
/// When the configuration cannot be used, or with `trust_own` the keys' certificates.
pub fn ends(keys: &Arc<VaultKeys>) -> Result<(Server, Option<Client>), ConfigError> {
    let wiring = pd::wiring();
    let options = options(wiring, trust::clients(wiring, keys)?);
    let client = trust::client(wiring, keys, &options, Arc::new(WallClock))?;
    let server = tls::server(keys.clone(), options, Arc::new(WallClock))?;
    Ok((server, client))
}

/// The vault's keys, if they are others than these. A vault that does not answer has none: it is asked again when it
/// notifies.
pub fn other_keys(sign: &Sign, known: &VaultKeys) -> Option<Arc<VaultKeys>> {
    let read = VaultKeys::read(sign).inspect_err(|error| pd::error!("vault: {error}"));
    let keys = read.ok().filter(|keys| !keys.are(known))?;
    for names in keys.names() {
        pd::info!("certificate for {}", names.join(", "));
    }
    Some(Arc::new(keys))
}
