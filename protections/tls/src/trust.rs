//! Whom this protection domain trusts, as the description says.

use alloc::string::ToString;
use alloc::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::time_provider::TimeProvider;
use tls::{Authorities, Client, ClientOptions, ClientPolicy, Options, VaultKeys};
use wiring::Wiring;

/// Whose certificates clients have to show, if any.
///
/// # Panics
/// When the authorities' region cannot be used, as all functions here.
pub fn clients(wiring: &Wiring, own: &Arc<VaultKeys>) -> Option<ClientPolicy> {
    let authorities = authorities(wiring, "client_authorities", own)?;
    let anonymous = wiring.boolean("anonymous").unwrap_or(false);
    let whom = if anonymous { "may" } else { "must" };
    let count = authorities.len();
    pd::info!("clients {whom} show a certificate of {count} authorities");
    Some(ClientPolicy {
        authorities,
        anonymous,
    })
}

/// What the service connects to servers with, where the description lets it.
pub fn client(
    wiring: &Wiring,
    own: &Arc<VaultKeys>,
    options: &Options,
    time: Arc<dyn TimeProvider>,
) -> Option<Client> {
    let allowed = wiring.connection("clients").ok()?.boolean("connect");
    if !allowed.unwrap_or(false) {
        return None;
    }
    let authorities = authorities(wiring, "server_authorities", own)?;
    let shown = wiring.boolean("show_certificate").unwrap_or(false);
    let keys = shown.then(|| own.clone() as Arc<dyn ResolvesClientCert>);
    let options = ClientOptions {
        tls12: options.tls12,
        alpn: options.alpn.clone(),
        authorities,
        name: wiring.text("server_name").ok().map(ToString::to_string),
        keys,
    };
    Some(tls::client(options, time).unwrap_or_else(|error| panic!("{error}")))
}

/// The authorities in the description's file, and with `trust_own` the certificates of the vault's keys at the start.
fn authorities(wiring: &Wiring, data: &str, own: &Arc<VaultKeys>) -> Option<Authorities> {
    let given = wiring.data(data).ok().map(|_| {
        Authorities::from_bytes(pd::data(data)).unwrap_or_else(|error| panic!("{data}: {error}"))
    });
    let own = wiring.boolean("trust_own").unwrap_or(false).then(|| {
        let certificates = own.certificates().map(<[u8]>::to_vec).collect();
        Authorities::new(certificates).unwrap_or_else(|error| panic!("trust_own: {error}"))
    });
    match (given, own) {
        (Some(given), Some(own)) => Some(given.and(own)),
        (given, own) => given.or(own),
    }
}
