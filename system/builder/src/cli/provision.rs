//! `selkie provision`: a key for a vault that runs, or certificates for a key that it has.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use vault::provision::{Certificates, Parcel};

use super::{Context, vault_line};
use crate::keys;

/// Options of `selkie provision`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The system's name, as `selkie status` lists it.
    name: String,
    /// PEM file with the certificates, the key's own first, each behind one that it signed.
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// PEM file with the private key (PKCS#8 or PKCS#1). Left out: the vault has the key that the first certificate is
    /// for, and the certificates take the place of those that it shows.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(super) fn command(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let chain = keys::read_whole_chain(&options.chain)?;
    let shown = Certificates {
        names: keys::names_of(&chain[0]),
        chain: chain.iter().map(Vec::as_slice).collect(),
    };
    let name = &options.name;
    let (what, names) = match &options.key {
        Some(file) => {
            let key = keys::read_fitting_key(&options.chain, &chain, file)?;
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
