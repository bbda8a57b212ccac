//! Determines the clients that see a new certificate: of several keys, the first that matches a
//! name answers.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use channel::sign::covers;

use crate::Scheme;

/// Maximum number of names for which the text of [`Taken`] names another key.
const MAX_LISTED: usize = 8;

/// Maximum number of names of another key in that text.
const MAX_ITS_NAMES: usize = 3;

/// The place of a key with new certificates, and the names for which another key answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The DNS names and IP addresses of the certificate.
    pub names: Vec<String>,
    /// The key's place among the vault's keys, from 0.
    pub place: usize,
    /// How many keys the vault has.
    pub count: usize,
    /// The keys that take precedence for some of the names, in the vault's order; at most eight
    /// names in total.
    pub earlier: Vec<Earlier>,
}

/// A key that takes precedence over another for some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The names in the other key's certificate.
    pub names: Vec<String>,
    /// The key's place among the vault's keys, from 0.
    pub place: usize,
    /// The names of its own certificate.
    pub its_names: Vec<String>,
    /// Whether every client that can verify the other's signatures can verify its own: then it
    /// always answers.
    pub always: bool,
}

/// A key with the properties by which clients choose.
pub(crate) struct Offered<'a> {
    pub names: &'a [String],
    pub schemes: &'a [Scheme],
    /// Whether it has a certificate.
    pub in_use: bool,
}

impl Taken {
    /// Returns the result for the key at this place, which is in use.
    pub(crate) fn new(keys: &[Offered<'_>], place: usize) -> Self {
        let own = &keys[place];
        let mut earlier: Vec<Earlier> = Vec::new();
        let mut listed = 0;
        for name in own.names {
            let first = keys[..place].iter().position(|key| key.answers(name));
            let Some(first) = first.filter(|_| listed < MAX_LISTED) else {
                continue;
            };
            listed += 1;
            if let Some(known) = earlier.iter_mut().find(|known| known.place == first) {
                known.names.push(name.clone());
                continue;
            }
            let key = &keys[first];
            earlier.push(Earlier {
                names: [name.clone()].into(),
                place: first,
                its_names: key.names.to_vec(),
                always: own
                    .schemes
                    .iter()
                    .all(|scheme| key.schemes.contains(scheme)),
            });
        }
        Self {
            names: own.names.to_vec(),
            place,
            count: keys.len(),
            earlier,
        }
    }
}

impl Offered<'_> {
    /// Returns whether this key answers clients that request this name, if it is the first match
    /// and they can verify its signatures. Clients do not send an address as server name (RFC 6066,
    /// section 3), and get the first key of all.
    fn answers(&self, name: &str) -> bool {
        let named = || self.names.iter().any(|pattern| covers(pattern, name));
        self.in_use && (name.parse::<IpAddr>().is_ok() || named())
    }
}

/// Writes parts that are separated by `; `: the names; `key NUMBER of COUNT`; for each earlier key
/// `NAMES by key NUMBER (ITS NAMES)`, followed by ` where it can be verified` if other clients see
/// the new key. Numbers count from 1; names have no spaces.
impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, number) = (self.names.join(", "), self.place + 1);
        write!(f, "{names}; key {number} of {}", self.count)?;
        for earlier in &self.earlier {
            let Earlier { its_names, .. } = earlier;
            let mut its: Vec<String> = its_names.iter().take(MAX_ITS_NAMES).cloned().collect();
            if its_names.len() > MAX_ITS_NAMES {
                its.push("...".to_string());
            }
            let (names, number) = (earlier.names.join(", "), earlier.place + 1);
            write!(f, "; {names} by key {number} ({})", its.join(", "))?;
            if !earlier.always {
                f.write_str(" where it can be verified")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECDSA: &[Scheme] = &[Scheme::EcdsaSecp256r1Sha256];
    const ED25519: &[Scheme] = &[Scheme::Ed25519];

    /// Returns the text for the last of these keys.
    fn said(keys: &[(&[&str], &[Scheme], bool)]) -> String {
        let names: Vec<Vec<String>> = keys
            .iter()
            .map(|(names, ..)| names.iter().map(ToString::to_string).collect())
            .collect();
        let keys: Vec<Offered<'_>> = keys
            .iter()
            .zip(&names)
            .map(|((_, schemes, in_use), names)| Offered {
                names,
                schemes,
                in_use: *in_use,
            })
            .collect();
        Taken::new(&keys, keys.len() - 1).to_string()
    }

    #[test]
    fn an_earlier_key_for_a_name_answers() {
        let local: &[&str] = &["localhost", "127.0.0.1", "::1"];
        assert_eq!(
            said(&[(local, ECDSA, true), (&["localhost"], ECDSA, true)]),
            "localhost; key 2 of 2; localhost by key 1 (localhost, 127.0.0.1, ::1)"
        );
        assert_eq!(
            said(&[(local, ECDSA, true)]),
            "localhost, 127.0.0.1, ::1; key 1 of 1"
        );
        assert_eq!(
            said(&[(local, ECDSA, true), (&["a.test"], ECDSA, true)]),
            "a.test; key 2 of 2"
        );
        assert_eq!(
            said(&[
                (&["*.test"], ECDSA, true),
                (&["A.test", "b.c.test"], ECDSA, true)
            ]),
            "A.test, b.c.test; key 2 of 2; A.test by key 1 (*.test)"
        );
    }

    #[test]
    fn the_first_key_answers_for_every_address() {
        assert_eq!(
            said(&[(&["a.test"], ECDSA, true), (&["192.0.2.1"], ECDSA, true)]),
            "192.0.2.1; key 2 of 2; 192.0.2.1 by key 1 (a.test)"
        );
    }

    #[test]
    fn a_key_without_a_certificate_does_not_answer() {
        assert_eq!(
            said(&[(&["a.test"], ECDSA, false), (&["a.test"], ECDSA, true)]),
            "a.test; key 2 of 2"
        );
    }

    #[test]
    fn clients_that_cannot_verify_the_earlier_key_see_the_other() {
        assert_eq!(
            said(&[(&["a.test"], ED25519, true), (&["a.test"], ECDSA, true)]),
            "a.test; key 2 of 2; a.test by key 1 (a.test) where it can be verified"
        );
    }

    #[test]
    fn the_text_is_bounded() {
        let long: Vec<String> = (0..128).map(|i| alloc::format!("{i:0>250}.test")).collect();
        let names: Vec<&str> = long.iter().map(String::as_str).collect();
        let text = said(&[(&names, ECDSA, true), (&names, ECDSA, true)]);
        let own = names.join(", ").len();
        assert!(text.len() < own + (MAX_LISTED + MAX_ITS_NAMES) * 260 + 100);
        assert!(text.ends_with(", ...)"));
    }
}
