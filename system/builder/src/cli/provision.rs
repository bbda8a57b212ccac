//! `selkie provision`: a key for a vault that runs, or certificates for a key that it has.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;
use vault::ChainError;
use vault::provision::{Certificates, MAX_NAMES, Parcel};
use x509_parser::prelude::ASN1Time;

use super::{Context, vault_line};
use crate::keys::{self, Chain};

/// Options of `selkie provision`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The system's name, as `selkie status` lists it.
    name: String,
    /// PEM file with the certificates, the key's own first, each behind one that it signed.
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// PEM file with the private key (PKCS#8, PKCS#1 or SEC 1). Left out: the vault has the key that the first certificate is
    /// for, and the certificates take the place of those that it shows.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(super) fn command(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let chain = Chain::read(&options.chain, ASN1Time::now())?;
    for warning in &chain.warnings {
        context.ui.say(format!("warning: {warning}"));
    }
    let shown = shown(&chain.names, &chain.certificates)
        .with_context(|| format!("a vault does not take {}", options.chain.display()))?;
    let name = &options.name;
    let (what, said) = match &options.key {
        Some(file) => {
            let key = keys::read_fitting_key(&chain, file)?;
            let parcel = Parcel::Key(shown, &key);
            ("the key", vault_line::send(context, name, &parcel)?)
        }
        None => {
            let parcel = Parcel::Certificates(shown);
            ("certificates", vault_line::send(context, name, &parcel)?)
        }
    };
    let answer = Answer::read(&said);
    context.ui.result(format!(
        "the vault of {name} has {what} for {}",
        answer.taken
    ));
    for warning in answer.warnings(what) {
        context.ui.say(format!("warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The vault's answer to certificates that it installed: the text of [`vault::Taken`]. A compromised guest may forge it.
struct Answer<'a> {
    /// The names, and the key's position in the vault.
    taken: String,
    /// The names.
    names: Vec<&'a str>,
    /// The names that an earlier key serves, each list with that key.
    earlier: Vec<(Vec<&'a str>, &'a str)>,
}

impl<'a> Answer<'a> {
    fn read(said: &'a str) -> Self {
        let mut parts = said.split("; ");
        let names = parts.next().unwrap_or_default();
        let taken = match parts.next() {
            Some(place) => format!("{names} ({place})"),
            None => names.to_owned(),
        };
        let earlier = parts.filter_map(|part| part.split_once(" by "));
        Self {
            taken,
            names: names.split(", ").collect(),
            earlier: earlier
                .map(|(names, key)| (names.split(", ").collect(), key))
                .collect(),
        }
    }

    /// Returns a warning for each earlier key that clients get instead of the new one.
    fn warnings(&self, what: &str) -> Vec<String> {
        let always = |key: &str| !key.ends_with(VERIFIABLE);
        let lost: usize = self
            .earlier
            .iter()
            .filter(|(_, key)| always(key))
            .map(|(names, _)| names.len())
            .sum();
        let mut warnings: Vec<String> = self
            .earlier
            .iter()
            .map(|(names, key)| {
                let names = names.join(", ");
                match key.strip_suffix(VERIFIABLE) {
                    Some(key) => format!(
                        "for {names} clients that can verify {key} still get its certificate: it comes first in the vault"
                    ),
                    None => format!(
                        "for {names} clients still get the certificate of {key}: it comes first in the vault"
                    ),
                }
            })
            .collect();
        if lost > 0 && lost == self.names.len() {
            let what = match what {
                "the key" => {
                    "the new key is never chosen; a key takes the place of the one with the same names in the same order"
                }
                _ => {
                    "these certificates are never shown; an earlier key of the description has the same names"
                }
            };
            warnings.push(what.into());
        }
        warnings
    }
}

/// Suffix of an earlier key that some clients cannot verify.
const VERIFIABLE: &str = " where it can be verified";

/// As a parcel has room for them.
fn shown<'a>(names: &'a [String], chain: &'a [Vec<u8>]) -> anyhow::Result<Certificates<'a>> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    Ok(Certificates {
        names: names.as_slice().try_into().map_err(|_| {
            anyhow!("its first certificate is for more than {MAX_NAMES} names and addresses")
        })?,
        chain: chain.as_slice().try_into().map_err(|_| ChainError::Count)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(said: &str) -> (String, Vec<String>) {
        let answer = Answer::read(said);
        (answer.taken.clone(), answer.warnings("the key"))
    }

    #[test]
    fn a_key_that_is_never_chosen_is_warned_of() {
        let said = "localhost; key 2 of 2; localhost by key 1 (localhost, 127.0.0.1, ::1)";
        let (taken, warnings) = reported(said);
        assert_eq!(taken, "localhost (key 2 of 2)");
        assert_eq!(
            warnings[0],
            "for localhost clients still get the certificate of key 1 (localhost, 127.0.0.1, ::1): it comes first in the vault"
        );
        assert!(warnings[1].starts_with("the new key is never chosen"));
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn a_key_that_some_clients_see_is_not_called_lost() {
        let (_, warnings) =
            reported("a.test; key 2 of 2; a.test by key 1 (a.test) where it can be verified");
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}");
        };
        assert!(warning.starts_with("for a.test clients that can verify key 1 (a.test) still get"));
        let (_, warnings) = reported("a.test, b.test; key 2 of 2; a.test by key 1 (a.test)");
        assert_eq!(warnings.len(), 1);
        assert_eq!(
            reported("a.test; key 1 of 1"),
            ("a.test (key 1 of 1)".into(), Vec::new())
        );
        // Malformed text from the guest is shown, not trusted.
        assert_eq!(reported("anything").1, Vec::<String>::new());
    }

    #[test]
    fn more_than_a_parcel_has_room_for_is_refused() {
        let (names, chain) = (vec![String::new(); MAX_NAMES + 1], vec![Vec::new(); 17]);
        let fits = |names, chain| shown(names, chain).map_err(|error| error.to_string());
        assert_eq!(
            fits(&names[1..], &chain[1..]).map(|shown| shown.names.len()),
            Ok(MAX_NAMES)
        );
        let error = fits(&names, &chain[1..]).unwrap_err();
        assert!(error.contains("more than 128 names"), "{error}");
        let error = fits(&names[1..], &chain).unwrap_err();
        assert!(error.contains("more than 16"), "{error}");
    }
}
