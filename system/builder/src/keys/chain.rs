//! Certificate chains: whether clients would accept them.
//!
//! A chain that no client accepts is an error. One that some clients refuse, or that expires soon, gets a warning.

use std::path::{Path, PathBuf};

use x509_parser::error::X509Error;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::{KeyFileError, algorithm, alternative_names, pem};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Days before its expiry from which a certificate causes a warning.
const SOON: i64 = 30;

/// The certificates that a vault shows for a key, the key's own first, each after one that it signed.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The file that they come from.
    pub file: PathBuf,
    /// X.509 certificates in DER; at least one.
    pub certificates: Vec<Vec<u8>>,
    /// The DNS names and addresses that the first certificate is for; at least one.
    pub names: Vec<String>,
    /// Warnings, each with the file's path.
    pub warnings: Vec<String>,
}

impl Chain {
    /// Reads the certificates of a PEM file, and checks them as of `now`.
    ///
    /// # Errors
    /// [`KeyFileError`]: the file is missing or malformed, or no client would accept what it holds.
    pub fn read(path: &Path, now: ASN1Time) -> Result<Self, KeyFileError> {
        let certificates = certificates(path)?;
        let wrong = |problem: String| KeyFileError::Pem {
            path: path.to_owned(),
            problem,
        };
        let parsed = parsed(&certificates).map_err(wrong)?;
        let names = alternative_names(&parsed[0]);
        let mut warnings = check(&parsed, &names, now).map_err(wrong)?;
        for warning in &mut warnings {
            *warning = format!("{}: {warning}", path.display());
        }
        Ok(Self {
            file: path.to_owned(),
            names,
            warnings,
            certificates,
        })
    }
}

/// Returns the certificates of a PEM file, in DER; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, KeyFileError> {
    let sections = pem::sections(path)?;
    let found = sections.iter().filter(|section| section.is_certificate());
    let certificates: Vec<Vec<u8>> = found.map(|section| section.contents.to_vec()).collect();
    if certificates.is_empty() {
        let advice = match sections
            .iter()
            .any(|section| section.label == "TRUSTED CERTIFICATE")
        {
            true => format!(
                "`openssl x509 -in {} -out chain.pem` makes a certificate of OpenSSL's own form",
                pem::quoted(path)
            ),
            false => "expected a line `-----BEGIN CERTIFICATE-----`".into(),
        };
        return Err(KeyFileError::Pem {
            path: path.to_owned(),
            problem: format!(
                "no certificate in it, but {}; {advice}",
                pem::listed(&sections)
            ),
        });
    }
    Ok(certificates)
}

pub(super) fn parsed(certificates: &[Vec<u8>]) -> Result<Vec<X509Certificate<'_>>, String> {
    let all = certificates.iter().enumerate();
    all.map(|(index, der)| match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(format!("certificate {}: {error}", index + 1)),
    })
    .collect()
}

/// Returns the warnings, or an error if no client would accept the chain.
fn check(
    chain: &[X509Certificate<'_>],
    names: &[String],
    now: ASN1Time,
) -> Result<Vec<String>, String> {
    let first = &chain[0];
    in_order(chain)?;
    algorithm::check(first)?;
    if names.is_empty() {
        return Err(
            "its first certificate is for no DNS name or address (subjectAltName), and clients look at nothing else; \
             `openssl req -addext subjectAltName=DNS:example.test …` makes one"
                .into(),
        );
    }
    let validity = first.validity();
    if !validity.is_valid_at(now) {
        let (from, to) = (validity.not_before, validity.not_after);
        return Err(format!(
            "its first certificate is not valid now, on {}, but from {} to {}",
            date(now),
            date(from),
            date(to)
        ));
    }
    let mut warnings = Vec::new();
    for (index, certificate) in chain.iter().enumerate() {
        warnings.extend(ending(index, certificate, now));
    }
    warnings.extend(uses(first)?);
    Ok(warnings)
}

/// Checks that each certificate is signed by the next.
fn in_order(chain: &[X509Certificate<'_>]) -> Result<(), String> {
    let Some(index) = chain
        .windows(2)
        .position(|pair| !signed_by(&pair[0], &pair[1]))
    else {
        return Ok(());
    };
    let (number, next) = (index + 1, index + 2);
    let mut problem =
        format!("it is no chain: certificate {number} is not signed by certificate {next}");
    if let Some(same) = chain[..next - 1]
        .iter()
        .position(|one| one.as_raw() == chain[next - 1].as_raw())
    {
        let same = same + 1;
        problem += &format!("; {next} is the same as {same}: leave it out");
    } else if let Some(order) = right_order(chain) {
        let order: Vec<String> = order.iter().map(|place| (place + 1).to_string()).collect();
        problem += &format!("; the right order is {}", order.join(", "));
    }
    Err(problem)
}

/// Returns the order in which the certificates form a chain, if there is one.
fn right_order(chain: &[X509Certificate<'_>]) -> Option<Vec<usize>> {
    let all = 0..chain.len();
    let signs_another = |issuer: &usize| {
        let mut others = all.clone().filter(|other| other != issuer);
        others.any(|other| signed_by(&chain[other], &chain[*issuer]))
    };
    let mut order: Vec<usize> = all.clone().filter(|one| !signs_another(one)).collect();
    // The end-entity certificate signs no other.
    let [mut last] = order[..] else {
        return None;
    };
    while order.len() < chain.len() {
        let mut rest = all.clone().filter(|one| !order.contains(one));
        last = rest.find(|issuer| signed_by(&chain[last], &chain[*issuer]))?;
        order.push(last);
    }
    Some(order)
}

/// Returns true if the names match and the signature is valid. A signature in an unknown scheme (an old root's, say)
/// counts as valid: clients judge it.
fn signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer() == issuer.subject()
        && matches!(
            certificate.verify_signature(Some(issuer.public_key())),
            Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm)
        )
}

/// Returns a warning for a certificate that expires soon, or for an expired certificate of an issuer. The latter is no
/// error: clients may have another certificate of that issuer.
fn ending(index: usize, certificate: &X509Certificate<'_>, now: ASN1Time) -> Option<String> {
    let end = certificate.validity().not_after;
    let left = end.timestamp() - now.timestamp();
    let number = index + 1;
    match left {
        ..0 => Some(format!("certificate {number} has expired on {}", date(end))),
        _ if left <= SOON * DAY => Some(format!(
            "certificate {number} expires on {}, in {} days",
            date(end),
            left / DAY
        )),
        _ => None,
    }
}

/// Checks the permitted uses of the first certificate's key (RFC 5280, sections 4.2.1.3, 4.2.1.9, 4.2.1.12).
fn uses(first: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    if let Ok(Some(usage)) = first.extended_key_usage() {
        let usage = usage.value;
        if !(usage.any || usage.server_auth || usage.client_auth) {
            return Err(
                "its first certificate may not be used for TLS (extendedKeyUsage has neither serverAuth nor clientAuth)"
                    .into(),
            );
        }
        if !(usage.any || usage.server_auth) {
            warnings.push(
                "certificate 1 may be used by clients only (extendedKeyUsage has no serverAuth)"
                    .into(),
            );
        }
    }
    if matches!(first.key_usage(), Ok(Some(usage)) if !usage.value.digital_signature()) {
        warnings.push(
            "certificate 1 may not be used for signatures (keyUsage has no digitalSignature); TLS 1.3 needs them"
                .into(),
        );
    }
    if first.is_ca() {
        warnings.push(
            "certificate 1 is an authority's (basicConstraints has CA:TRUE), which some clients refuse for a server; \
             `openssl req -x509 -addext basicConstraints=critical,CA:FALSE …` makes another"
                .into(),
        );
    }
    Ok(warnings)
}

/// Formats the date of a time, in UTC.
fn date(time: ASN1Time) -> String {
    let day = time.to_datetime();
    let (year, month, day) = (day.year(), u8::from(day.month()), day.day());
    format!("{year:04}-{month:02}-{day:02}")
}
