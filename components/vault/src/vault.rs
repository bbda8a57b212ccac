//! Keys and policy.

use alloc::string::String;
use alloc::vec::Vec;

use channel::sign::{
    Content, KeyId, MAX_KEYS, MAX_PUBLIC, MAX_WORDS, PublicKey, Request, Role, SignError,
    encode_chunk, encode_signature,
};
use channel::{CallError, sign};

use crate::certificate::is_due;
use crate::content::signed;
use crate::key::{Key, Scheme};
use crate::limit::Limit;
use crate::provision::{Certificates, MAX_PARCEL, Parcel, ProvisionError, Receipt};
use crate::taken::Offered;
use crate::{ChainError, Entry, KeyError, Keyring, Subject, Taken, VaultError};

/// Most certificates in a chain.
pub(crate) const MAX_CHAIN: usize = 16;

/// Longest name and most names that are told to clients, as their encoding has room for.
const MAX_NAME: usize = 255;

/// What one client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Signatures a second, 1 to 10^9.
    pub rate: u32,
    /// Whether it may sign as a TLS client.
    pub client: bool,
}

/// All keys, and what may be asked of them.
pub struct Vault {
    keys: Vec<Held>,
    /// The schemes that the description allows.
    schemes: Vec<Scheme>,
    clients: Vec<(Client, Limit)>,
    /// How often the keys have changed.
    edition: u64,
}

/// A key with its public part.
struct Held {
    key: Key,
    id: KeyId,
    /// The schemes of the key that are allowed.
    schemes: Vec<Scheme>,
    /// What requests for it say, if the vault made it: a [`Subject`], encoded.
    subject: Option<Vec<u8>>,
    /// Time at which the vault issued its certificate, in seconds since 1970; `None` if the vault
    /// did not.
    written: Option<u64>,
    /// DNS names and addresses of its certificate, or for one.
    names: Vec<String>,
    /// Whether it has a certificate.
    certified: bool,
    /// Encoded for clients.
    public: Vec<u8>,
}

impl Held {
    /// A key with a chain, empty if it has no certificate yet.
    fn new(
        key: Key,
        subject: Option<&Vec<u8>>,
        allowed: &[Scheme],
        names: &[&str],
        chain: Vec<Vec<u8>>,
    ) -> Result<Self, ChainError> {
        let schemes = key.schemes().filter(|scheme| allowed.contains(scheme));
        let mut held = Self {
            id: key.id(),
            schemes: schemes.collect(),
            key,
            subject: subject.cloned(),
            written: None,
            names: Vec::new(),
            certified: false,
            public: Vec::new(),
        };
        held.show(names, chain)?;
        Ok(held)
    }

    /// Has these certificates from now on; as before if there is an error.
    fn show(&mut self, names: &[&str], chain: Vec<Vec<u8>>) -> Result<(), ChainError> {
        let fitting = names.iter().filter(|name| name.len() <= MAX_NAME);
        let names: Vec<String> = fitting.take(MAX_NAME).map(|name| (*name).into()).collect();
        let certified = !chain.is_empty();
        let public = PublicKey {
            id: self.id,
            schemes: self.schemes.iter().map(|scheme| scheme.number()).collect(),
            names: names.clone(),
            chain,
        };
        let public = public.to_bytes();
        if public.len() > MAX_PUBLIC {
            return Err(ChainError::TooLong);
        }
        (self.names, self.public, self.written) = (names, public, None);
        self.certified = certified;
        Ok(())
    }
}

impl Vault {
    /// Takes over, or makes, the keys. `schemes` are what may be used at all; `now` is the time in seconds
    /// since 1970, for the certificates of keys that are made.
    ///
    /// # Errors
    /// [`VaultError`], when one key cannot be made or used, or its chain is none of its own.
    pub fn new(
        keyring: &Keyring,
        schemes: &[Scheme],
        clients: &[Client],
        now: u64,
    ) -> Result<Self, VaultError> {
        let clients = clients.iter();
        let mut vault = Self {
            keys: Vec::new(),
            schemes: schemes.to_vec(),
            clients: clients
                .map(|client| (*client, Limit::new(client.rate)))
                .collect(),
            edition: 0,
        };
        for (index, entry) in keyring.0.iter().enumerate() {
            let held = vault.held(index, entry, now)?;
            vault.keys.push(held);
        }
        Ok(vault)
    }

    fn held(&self, index: usize, entry: &Entry, now: u64) -> Result<Held, VaultError> {
        let at = |error| VaultError::Key(index, error);
        let chained = |error| VaultError::Chain(index, error);
        let (key, subject, names, chain) = match entry {
            Entry::Made {
                kind,
                names,
                subject,
                self_signed,
            } => {
                let key = Key::made(*kind).map_err(at)?;
                let written = || Subject::from_bytes(subject)?.self_signed(&key, now);
                let certificate = self_signed.then(written);
                let chain = Vec::from_iter(certificate.transpose().map_err(at)?);
                (key, Some(subject), names, chain)
            }
            Entry::Prefilled { names, chain, key } => {
                let key = Key::from_der(key).map_err(at)?;
                check(chain, &key).map_err(chained)?;
                (key, None, names, chain.clone())
            }
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let written = subject.and(chain.first()).map(|_| now);
        let held = Held::new(key, subject, &self.schemes, &names, chain).map_err(chained)?;
        Ok(Held { written, ..held })
    }

    /// Renews the self-signed certificates that are due. `now` is in seconds since 1970. The caller
    /// calls it a few times a day. Returns whether any were renewed.
    ///
    /// # Errors
    /// [`KeyError`]; the certificates from that key on are then unchanged.
    pub fn renew(&mut self, now: u64) -> Result<bool, KeyError> {
        let before = self.edition;
        for held in &mut self.keys {
            if let (Some(subject), Some(written)) = (&held.subject, held.written)
                && is_due(written, now)
            {
                let certificate = Subject::from_bytes(subject)?.self_signed(&held.key, now)?;
                let names = held.names.clone();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                held.show(&names, alloc::vec![certificate])
                    .map_err(|_| KeyError::NoCertificate)?;
                held.written = Some(now);
                self.edition += 1;
            }
        }
        Ok(self.edition != before)
    }

    /// Does what was sent at run time.
    ///
    /// # Errors
    /// [`ProvisionError`]; then the keys are as before.
    pub fn provision(&mut self, parcel: &Parcel<'_>) -> Result<Receipt, ProvisionError> {
        match parcel {
            Parcel::Key(shown, key) => self.take_key(shown, key),
            Parcel::Certificates(shown) => self.take_certificates(shown),
            Parcel::Request(place) => self.request((*place).into()),
        }
    }

    /// The key takes the place of the one with the same names; without one it comes behind the others.
    fn take_key(
        &mut self,
        shown: &Certificates<'_>,
        key: &[u8],
    ) -> Result<Receipt, ProvisionError> {
        let key = Key::from_der(key).map_err(ProvisionError::Key)?;
        let chain = owned(&shown.chain);
        let held = check(&chain, &key)
            .and_then(|()| Held::new(key, None, &self.schemes, &shown.names, chain))
            .map_err(ProvisionError::Chain)?;
        if held.schemes.is_empty() {
            return Err(ProvisionError::SchemesRefused);
        }
        let same = |held: &Held| held.names[..] == shown.names[..];
        let place = self.keys.iter().position(same);
        match place {
            Some(place) => self.keys[place] = held,
            None if self.keys.len() < MAX_KEYS => self.keys.push(held),
            None => return Err(ProvisionError::Full),
        }
        self.edition += 1;
        let place = place.unwrap_or(self.keys.len() - 1);
        Ok(Receipt::Key(self.taken(place)))
    }

    /// The certificates take the place of those of the key that the first of them is for.
    fn take_certificates(&mut self, shown: &Certificates<'_>) -> Result<Receipt, ProvisionError> {
        let chain = owned(&shown.chain);
        let mut wrong = ChainError::OtherKey;
        let place = self.keys.iter().position(|held| {
            let checked = check(&chain, &held.key);
            checked.inspect_err(|error| wrong = *error).is_ok()
        });
        let place = place.ok_or(ProvisionError::Chain(wrong))?;
        self.keys[place]
            .show(&shown.names, chain)
            .map_err(ProvisionError::Chain)?;
        self.edition += 1;
        Ok(Receipt::Certificates(self.taken(place)))
    }

    /// Returns the clients that see the certificates of the key at this place.
    fn taken(&self, place: usize) -> Taken {
        let keys = self.keys.iter().map(|held| Offered {
            names: &held.names,
            schemes: &held.schemes,
            in_use: held.certified,
        });
        Taken::new(&keys.collect::<Vec<_>>(), place)
    }

    /// A request for a certificate for the key at this place.
    fn request(&self, place: usize) -> Result<Receipt, ProvisionError> {
        let held = self.keys.get(place).ok_or(ProvisionError::NoKey)?;
        let subject = held.subject.as_ref().ok_or(ProvisionError::NotMade)?;
        let subject = Subject::from_bytes(subject).map_err(ProvisionError::Key)?;
        let request = subject.request(&held.key).map_err(ProvisionError::Key)?;
        match request.len() > MAX_PARCEL {
            true => Err(ProvisionError::TooLong),
            false => Ok(Receipt::Request(request)),
        }
    }

    /// The names that each key's certificate is for.
    pub fn names(&self) -> impl Iterator<Item = &[String]> {
        self.keys.iter().map(|held| &held.names[..])
    }

    /// Answers a client's request at this time (monotonic nanoseconds): the number of words of the answer.
    ///
    /// # Errors
    /// [`SignError`], which is the answer then.
    pub fn answer(
        &mut self,
        client: usize,
        label: u64,
        request: &[u64],
        now: u64,
        words: &mut [u64; MAX_WORDS],
    ) -> Result<usize, SignError> {
        match Request::decode(label, request)? {
            Request::Keys => {
                words[0] = self.keys.len() as u64;
                Ok(1)
            }
            Request::Read { key, offset } => {
                let held = self.keys.get(key).ok_or(SignError::UnknownKey)?;
                encode_chunk(&held.public, self.edition, offset, words)
            }
            Request::Sign {
                key,
                scheme,
                content,
            } => self.sign(client, key, scheme, &content, now, words),
        }
    }

    fn sign(
        &mut self,
        client: usize,
        key: KeyId,
        scheme: u16,
        content: &Content,
        now: u64,
        words: &mut [u64; sign::MAX_WORDS],
    ) -> Result<usize, SignError> {
        let (policy, limit) = self.clients.get_mut(client).ok_or(CallError::BadRequest)?;
        let held = self.keys.iter().find(|held| held.id == key);
        let held = held.ok_or(SignError::UnknownKey)?;
        let scheme = Scheme::numbered(scheme).filter(|scheme| held.schemes.contains(scheme));
        let scheme = scheme.ok_or(SignError::SchemeRefused)?;
        if let Content::CertificateVerify { role, .. } = content {
            if !scheme.in_tls13() {
                return Err(SignError::SchemeRefused);
            }
            if *role == Role::Client && !policy.client {
                return Err(SignError::RoleRefused);
            }
        }
        if !limit.take(now) {
            return Err(SignError::TooMany);
        }
        let signature = held.key.sign(scheme, &signed(content))?;
        Ok(encode_signature(&signature, words))
    }
}

/// Checks that a chain begins with a certificate for this key. Whoever gives the chain is trusted to give a
/// certificate; that the public key lies in it shows that it was not mistaken for another.
fn check(chain: &[Vec<u8>], key: &Key) -> Result<(), ChainError> {
    let first = chain.first().filter(|_| chain.len() <= MAX_CHAIN);
    let first = first.ok_or(ChainError::Count)?;
    let public = key.public();
    match first.windows(public.len()).any(|part| part == public) {
        true => Ok(()),
        false => Err(ChainError::OtherKey),
    }
}

fn owned(chain: &[&[u8]]) -> Vec<Vec<u8>> {
    chain.iter().map(|der| der.to_vec()).collect()
}
