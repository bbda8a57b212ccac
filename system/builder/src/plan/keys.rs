//! What a description says of a vault's keys.

use std::net::IpAddr;

use channel::sign::MAX_KEYS;
use vault::{Entry as Key, Keyring, Kind};
use x509_cert::der;

use super::{Content, Planner, Protection};
use crate::board::KernelKind;
use crate::diagnostics::suggest;
use crate::keys;
use crate::manifest::{Data, DataKind};
use crate::toml::{Entry, Fields, Kind as Toml, Node, Spanned};

/// The kinds of key that a vault makes, as descriptions name them.
pub(crate) const KINDS: [(&str, Kind); 3] = [
    ("ecdsa-p256", Kind::EcdsaP256),
    ("ecdsa-p384", Kind::EcdsaP384),
    ("ed25519", Kind::Ed25519),
];

/// Names of a made key's certificate, where a description gives none: how QEMU's forwarded ports are reached.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Planner<'_> {
    /// The key of a vault of which the description says nothing.
    pub(super) fn default_keys() -> Content {
        let key = made(Kind::EcdsaP256, Vec::new(), true);
        let key = key.expect("the names are in a certificate's form");
        Content::Bytes(Keyring(vec![key]).to_bytes())
    }

    /// A table that says where a key comes from, or a list of such. `line` says whether the vault has a device, over
    /// which certificates can come.
    pub(super) fn keys(&mut self, entry: &Entry, line: bool) -> Option<Content> {
        let nodes = match &entry.value.kind {
            Toml::List(nodes) => &nodes[..],
            _ => std::slice::from_ref(&entry.value),
        };
        if nodes.is_empty() || nodes.len() > MAX_KEYS {
            let message = format!("a vault has 1 to {MAX_KEYS} keys, not {}", nodes.len());
            self.wrong(&entry.value.span, message).help =
                Some("leave `keys` out for one that the vault makes".into());
            return None;
        }
        let keys: Vec<Option<Key>> = nodes.iter().map(|node| self.key(node, line)).collect();
        let keyring = Keyring(keys.into_iter().collect::<Option<_>>()?);
        // With keys made as the vault will make them, of the same sizes, it is known now whether it can begin.
        match keys::tried(&keyring) {
            Ok(()) => Some(Content::Bytes(keyring.to_bytes())),
            Err(error) => {
                let message = format!("a vault cannot have these keys: {error}");
                self.wrong(&entry.value.span, message);
                None
            }
        }
    }

    fn key(&mut self, node: &Node, line: bool) -> Option<Key> {
        let Toml::Table(entries) = &node.kind else {
            self.no_key(node);
            return None;
        };
        let mut fields = Fields::new(entries);
        let (make, names) = (fields.take("make"), fields.take("names"));
        let self_signed = fields.take("self_signed");
        let (chain, key) = (fields.take("chain"), fields.take("key"));
        fields.finish(&mut self.reader(), "a private key");
        match (make, names, self_signed, chain, key) {
            (Some(make), names, self_signed, None, None) => {
                let self_signed = match self_signed {
                    Some(entry) => self.self_signed(entry, line)?,
                    None => true,
                };
                self.generated(make, names, self_signed)
            }
            (None, None, None, Some(chain), Some(key)) => self.prefilled(chain, key),
            _ => {
                self.no_key(node);
                None
            }
        }
    }

    fn no_key(&mut self, node: &Node) {
        let problem = self.wrong(&node.span, "this does not say where a key comes from");
        problem.help = Some(
            "use { make = \"ecdsa-p256\", names = [\"…\"] }, or { chain = \"FILE\", key = \"FILE\" }"
                .into(),
        );
    }

    fn generated(&mut self, make: &Entry, names: Option<&Entry>, self_signed: bool) -> Option<Key> {
        let word = self.reader().text(make)?;
        let known = KINDS.iter().find(|(name, _)| *name == word.value);
        let Some((_, kind)) = known else {
            let help = suggest(&word.value, "kinds", KINDS.iter().map(|(name, _)| *name));
            let message = format!("a vault makes no key of the kind `{}`", word.value);
            self.wrong(&word.span, message).help = Some(help);
            return None;
        };
        let names = match names {
            Some(entry) => self.host_names(entry)?,
            None => Vec::new(),
        };
        match made(*kind, names, self_signed) {
            Ok(key) => Some(key),
            Err(error) => {
                let message = format!("no certificate can be for these names: {error}");
                self.wrong(&word.span, message);
                None
            }
        }
    }

    /// Whether a key has a certificate before it gets one.
    fn self_signed(&mut self, entry: &Entry, line: bool) -> Option<bool> {
        let self_signed = self.reader().boolean(entry)?;
        if !self_signed && !line {
            let message = "this key would never have a certificate";
            self.wrong(&entry.value.span, message).help = Some(
                "give the vault a serial port of its own (device = \"serial1\"), over which one can come, \
                 or leave `self_signed` out"
                    .into(),
            );
            return None;
        }
        Some(self_signed)
    }

    /// DNS names and IP addresses.
    fn host_names(&mut self, entry: &Entry) -> Option<Vec<String>> {
        let names = self.reader().texts(entry)?;
        if let Some(wrong) = names.iter().find(|name| !is_host_name(name)) {
            let message = format!("`{wrong}` is neither a DNS name nor an IP address");
            self.wrong(&entry.value.span, message).help =
                Some("for example: \"example.test\", \"*.example.test\" or \"192.0.2.1\"".into());
            return None;
        }
        Some(names)
    }

    fn prefilled(&mut self, chain: &Entry, key: &Entry) -> Option<Key> {
        let chain: Spanned<String> = self.reader().text(chain)?;
        let key = self.reader().text(key)?;
        let files = (
            self.existing(&chain, "file", |path| path.exists()),
            self.existing(&key, "file", |path| path.exists()),
        );
        match keys::from_files(&files.0?, &files.1?) {
            Ok(key) => {
                let folder = format!("{}/", self.folder.display());
                let warnings = key.warnings.into_iter();
                let shown = warnings.map(|text| format!("warning: {}", text.replace(&folder, "")));
                self.warnings.extend(shown);
                Some(key.entry)
            }
            Err(error) => {
                self.unusable(&chain, &error.to_string());
                None
            }
        }
    }
}

/// What a key that came in the image leaves in memory, for each vault that has one.
pub(super) fn notes(
    protections: &[Protection],
    kernel: KernelKind,
) -> impl Iterator<Item = String> {
    let left = match kernel {
        KernelKind::Pc99 => "once the system runs, only the vault's memory holds it",
        KernelKind::Microkit => "and the machine's memory keeps copies of it outside the vault",
    };
    let vaults = protections
        .iter()
        .filter(|protection| has_prefilled(protection));
    vaults.map(move |vault| {
        let name = &vault.name;
        format!("`{name}` has a key from a file, for development: the boot image holds it, {left}")
    })
}

fn has_prefilled(protection: &Protection) -> bool {
    let kinds = protection
        .program
        .data
        .iter()
        .filter(|data| data.kind == DataKind::Keys);
    let content = |data: &Data| {
        let found = protection.data.iter().find(|(name, _)| *name == data.name);
        match found {
            Some((_, Content::Bytes(bytes))) => Keyring::from_bytes(bytes).ok(),
            _ => None,
        }
    };
    let prefilled = |key: &Key| matches!(key, Key::Prefilled { .. });
    kinds
        .filter_map(content)
        .any(|keyring| keyring.0.iter().any(prefilled))
}

fn made(kind: Kind, mut names: Vec<String>, self_signed: bool) -> der::Result<Key> {
    if names.is_empty() {
        names.extend(LOCAL.map(str::to_owned));
    }
    vault_subject::made(kind, names, self_signed)
}

/// Labels of letters, digits and hyphens (RFC 1123, section 2.1), the first may be `*`; or an address.
fn is_host_name(name: &str) -> bool {
    let fits = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(inner)
    };
    let labels = name.strip_prefix("*.").unwrap_or(name);
    name.parse::<IpAddr>().is_ok() || name.len() <= 253 && labels.split('.').all(fits)
}
