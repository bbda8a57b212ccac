//! Who may ask for signatures, and what the wiring says of it.

use alloc::vec::Vec;

use channel::sign::SignError;
use sel4_microkit::Channel;
use vault::{Client, Keyring, Scheme, Vault};
use wiring::Value;

/// The clients, in the order of the wiring.
pub struct Clients(Vec<(Channel, &'static str, Client, u64)>);

impl Clients {
    /// The connections of the port.
    pub fn new() -> Self {
        let clients = pd::server_channels("clients").into_iter();
        Self(
            clients
                .map(|(connection, channel)| {
                    let rate = connection.integer("rate").ok();
                    let policy = Client {
                        rate: rate.and_then(|rate| rate.try_into().ok()).unwrap_or(1),
                        client: connection.boolean("client").unwrap_or(false),
                    };
                    (channel, connection.peer.as_str(), policy, 0)
                })
                .collect(),
        )
    }

    /// The client at this channel; a number that is none's, if there is none.
    pub fn index(&self, from: Channel) -> usize {
        let found = self.0.iter().position(|(channel, ..)| *channel == from);
        found.unwrap_or(usize::MAX)
    }

    /// Tells all that the keys have changed.
    pub fn tell(&self) {
        for (channel, ..) in &self.0 {
            channel.notify();
        }
    }

    fn policies(&self) -> Vec<Client> {
        self.0.iter().map(|(_, _, policy, _)| *policy).collect()
    }

    /// Says that a request was refused: the first, the second, the fourth and so on, so that a flood of requests is no
    /// flood of lines.
    pub fn refused(&mut self, from: Channel, error: SignError) {
        let index = self.index(from);
        if let Some((_, name, _, count)) = self.0.get_mut(index) {
            *count += 1;
            if count.is_power_of_two() {
                pd::warn!("refused {count} requests of {name}: {error}");
            }
        }
    }
}

/// The vault that the wiring describes.
///
/// # Panics
/// When there is a key that it cannot make or use: then there is nothing to sign with.
pub fn open(clients: &Clients) -> Vault {
    let wiring = pd::wiring();
    let keyring = Keyring::from_bytes(pd::data("keys")).unwrap_or_else(|error| panic!("{error}"));
    let names = wiring.list("schemes").unwrap_or(&[]).iter();
    let schemes: Vec<Scheme> = names
        .filter_map(|name| match name {
            Value::Text(name) => Scheme::named(name),
            _ => None,
        })
        .collect();
    let now = pd::wall_clock().unwrap_or(0) / 1_000_000_000;
    let vault = Vault::new(&keyring, &schemes, &clients.policies(), now)
        .unwrap_or_else(|error| panic!("{error}"));
    for (entry, names) in keyring.0.iter().zip(vault.names()) {
        let names = names.join(", ");
        match entry {
            vault::Entry::Made {
                self_signed: true, ..
            } => pd::info!("made a key for {names}"),
            vault::Entry::Made { .. } => {
                pd::info!("made a key for {names}: not in use until it gets a certificate");
            }
            vault::Entry::Prefilled { .. } => {
                pd::warn!("key for {names}: it came with the boot image, for development only");
            }
        }
    }
    vault
}
