//! `selkie request`: a certificate request for a key of a vault that runs.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, ensure};
use channel::sign::MAX_KEYS;
use clap::Args;
use pem::{EncodeConfig, LineEnding, Pem};
use vault::provision::{MAX_PARCEL, Parcel};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::{Context, vault_line};
use crate::keys;

/// Options of `selkie request`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The system's name, as `selkie status` lists it.
    name: String,
    /// Which of the vault's keys: its place in the description, counted from 1.
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=MAX_KEYS as i64))]
    key: u8,
    /// The file that gets the request (PKCS#10, PEM) [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn command(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let name = &options.name;
    let parcel = Parcel::Request(options.key - 1);
    let said = vault_line::send(context, name, &parcel)?;
    let (pem, names) = checked(&said)
        .with_context(|| format!("what the vault of `{name}` sends is no certificate request"))?;
    match &options.out {
        None => context.ui.result(pem.trim_end()),
        Some(file) => {
            fs::write(file, &pem).with_context(|| format!("cannot write {}", file.display()))?;
            let (file, names) = (file.display(), names.join(", "));
            context.ui.result(format!(
                "{file}: a request of the vault of {name} for {names}"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The request in PEM, and the names that it is for. The guest is not believed: this is a request as RFC 2986 has it,
/// and signed by the key that it is for, or an error.
fn checked(digits: &str) -> anyhow::Result<(String, Vec<String>)> {
    ensure!(digits.len() <= 2 * MAX_PARCEL, "it is too long");
    let der = hex::decode(digits).context("it is not in hexadecimal digits")?;
    let (rest, request) = X509CertificationRequest::from_der(&der)?;
    ensure!(rest.is_empty(), "there are bytes behind it");
    request
        .verify_signature()
        .map_err(|error| anyhow!("its signature is wrong: {error}"))?;
    let extensions = request.requested_extensions().into_iter().flatten();
    let names = extensions.filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(keys::names(names)),
        _ => None,
    });
    let names: Vec<String> = names.flatten().collect();
    let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(
        names.iter().all(plain),
        "it is for something that is no name"
    );
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    let pem = pem::encode_config(&Pem::new("CERTIFICATE REQUEST", der), config);
    Ok((pem, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> Vec<u8> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.serialize_request(&pair).unwrap().der().to_vec()
    }

    #[test]
    fn a_request_is_shown_in_pem_with_its_names() {
        let der = request("a.test");
        let (pem, names) = checked(&hex::encode(&der)).unwrap();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"));
        assert_eq!(pem::parse(&pem).unwrap().contents(), der);
        assert_eq!(names, ["a.test"]);
    }

    #[test]
    fn what_a_guest_makes_up_is_refused() {
        let said = |digits: &str| format!("{:#}", checked(digits).unwrap_err());
        let der = request("a.test");
        assert!(said("a.test").contains("hexadecimal"));
        assert!(said("+f").contains("hexadecimal"));
        assert!(said("300").contains("hexadecimal"));
        assert!(said(&"30".repeat(MAX_PARCEL + 1)).contains("too long"));
        let more = [&der[..], &[0]].concat();
        assert!(said(&hex::encode(&more)).contains("behind it"));
        let mut forged = der.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert!(said(&hex::encode(&forged)).contains("signature is wrong"));
        assert!(checked(&hex::encode(&der[..der.len() - 1])).is_err());
        assert!(checked("").is_err());
        let control = request("\u{1b}[2J");
        assert!(said(&hex::encode(&control)).contains("no name"));
    }
}
