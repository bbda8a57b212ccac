//! Whom this protection domain trusts, as the description says.

use alloc::string::ToString;
use alloc::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::time_provider::TimeProvider;
use tls::{
    Authorities, Client, ClientOptions, ClientPolicy, ConfigError, Options, Trust, VaultKeys,
};
use wiring::Wiring;

/// Whose certificates clients have to show, if any.
///
/// # Errors
/// When the authorities cannot be used, as all functions here.
pub fn clients(wiring: &Wiring, own: &Arc<VaultKeys>) -> Result<Option<ClientPolicy>, ConfigError> {
    let Some(trust) = trust(wiring, "client_authorities", own)? else {
        return Ok(None);
    };
    let anonymous = wiring.boolean("anonymous").unwrap_or(false);
    let whom = if anonymous { "may" } else { "must" };
    let count = trust.authorities.as_ref().map_or(0, Authorities::len);
    match trust.own {
        Some(_) => {
            pd::info!("clients {whom} show the vault's certificate or one of {count} authorities")
        }
        None => pd::info!("clients {whom} show a certificate of {count} authorities"),
    }
    Ok(Some(ClientPolicy { trust, anonymous }))
}

/// What the service connects to servers with, where the description lets it.
pub fn client(
    wiring: &Wiring,
    own: &Arc<VaultKeys>,
    options: &Options,
    time: Arc<dyn TimeProvider>,
) -> Result<Option<Client>, ConfigError> {
    let above = wiring.connection("clients").ok();
    let allowed = above.and_then(|above| above.boolean("connect").ok());
    if !allowed.unwrap_or(false) {
        return Ok(None);
    }
    let Some(trust) = trust(wiring, "server_authorities", own)? else {
        return Ok(None);
    };
    let shown = wiring.boolean("show_certificate").unwrap_or(false);
    let keys = shown.then(|| own.clone() as Arc<dyn ResolvesClientCert>);
    let options = ClientOptions {
        tls12: options.tls12,
        alpn: options.alpn.clone(),
        trust,
        name: wiring.text("server_name").ok().map(ToString::to_string),
        keys,
    };
    tls::client(options, time).map(Some)
}

/// The authorities in the description's file, and with `trust_own` the certificates of the vault's keys; nothing, where
/// there is neither.
fn trust(wiring: &Wiring, data: &str, own: &Arc<VaultKeys>) -> Result<Option<Trust>, ConfigError> {
    let given = wiring.data(data).ok();
    let given = given.map(|_| Authorities::from_bytes(pd::data(data)));
    let authorities = given.transpose()?;
    let trust_own = wiring.boolean("trust_own").unwrap_or(false);
    let own = trust_own.then(|| own.certificates().map(<[u8]>::to_vec).collect());
    Ok((authorities.is_some() || trust_own).then_some(Trust { authorities, own }))
}
