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
    let (what, names) = match &options.key {
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
    context
        .ui
        .result(format!("the vault of {name} has {what} for {names}"));
    Ok(ExitCode::SUCCESS)
}

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
