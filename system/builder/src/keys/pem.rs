//! PEM files (RFC 7468) as OpenSSL, step, certbot and Windows write them, with advice for files of other kinds.

use std::path::Path;

use zeroize::Zeroizing;

use super::KeyFileError;
use crate::files;

/// Maximum size in bytes of a file with keys or certificates: a system's whole list of authorities has a quarter of a MiB.
const MAX_FILE: u64 = 4 << 20;

/// The labels of certificates: RFC 7468, section 5.1.
const CERTIFICATES: [&str; 2] = ["CERTIFICATE", "X509 CERTIFICATE"];

/// The contents between a `BEGIN` line and its `END` line.
pub(super) struct Section {
    /// The label of the two lines, such as `CERTIFICATE`.
    pub label: String,
    /// Whether the contents are encrypted (PKCS#8, or RFC 1421's `Proc-Type: 4,ENCRYPTED`).
    pub encrypted: bool,
    /// The contents, usually DER.
    pub contents: Zeroizing<Vec<u8>>,
}

impl Section {
    pub fn is_certificate(&self) -> bool {
        CERTIFICATES.contains(&self.label.as_str())
    }

    pub fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }
}

/// Returns the sections of a PEM file; at least one. Text outside of them is skipped, and so is a byte order mark.
///
/// # Errors
/// [`KeyFileError`]: it cannot be read, or it is no PEM file, with what it is and how to make one of it.
pub(super) fn sections(path: &Path) -> Result<Vec<Section>, KeyFileError> {
    let bytes = files::read(path, MAX_FILE).map_err(|error| KeyFileError::File {
        path: path.to_owned(),
        error,
    })?;
    let bytes = Zeroizing::new(bytes);
    let wrong = |problem: String| KeyFileError::Pem {
        path: path.to_owned(),
        problem,
    };
    if let Some(advice) = not_pem(&bytes, path) {
        return Err(wrong(advice));
    }
    let sections =
        pem::parse_many(&*bytes).map_err(|error| wrong(format!("damaged PEM: {error}")))?;
    let begun = bytes.windows(11).filter(|line| line == b"-----BEGIN ");
    if sections.len() != begun.count() {
        return Err(wrong(
            "damaged PEM: a line `-----BEGIN …-----` has no `-----END …-----`".into(),
        ));
    }
    if sections.is_empty() {
        return Err(wrong(
            "it is no PEM file: there is no line `-----BEGIN …-----` in it".into(),
        ));
    }
    let section = |pem: pem::Pem| Section {
        label: pem.tag().to_owned(),
        encrypted: pem.tag() == "ENCRYPTED PRIVATE KEY"
            || pem
                .headers()
                .iter()
                .any(|(key, value)| key == "Proc-Type" && value.ends_with("ENCRYPTED")),
        contents: pem.into_contents().into(),
    };
    Ok(sections.into_iter().map(section).collect())
}

/// Lists the labels of sections for a message about a file with the wrong contents.
pub(super) fn listed(sections: &[Section]) -> String {
    let mut labels: Vec<String> = Vec::new();
    for section in sections {
        let label = format!("`{}`", section.label);
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels.join(", ")
}

/// Identifies a file that is not PEM by its first bytes, and names the command that converts it to PEM.
fn not_pem(bytes: &[u8], path: &Path) -> Option<String> {
    let file = quoted(path);
    match bytes {
        [] => Some("it is empty".into()),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(
            "it is text in UTF-16, as PowerShell's `>` writes it; save it in UTF-8 or ASCII".into(),
        ),
        [0xfe, 0xed, 0xfe, 0xed, ..] => Some(format!(
            "it is a Java key store; `keytool -importkeystore -srckeystore {file} -destkeystore key.p12 -deststoretype PKCS12` \
             and then `openssl pkcs12 -in key.p12 -nodes -out key.pem` make PEM of it"
        )),
        [0x30, ..] if !bytes.starts_with(b"0\n") => Some(der(bytes, &file)),
        _ => None,
    }
}

/// Identifies a DER file (X.690, section 8.9: it begins with a SEQUENCE) by its first inner element.
fn der(bytes: &[u8], file: &str) -> String {
    let header = match bytes.get(1) {
        Some(&length) if length >= 0x80 => 2 + usize::from(length & 0x7f),
        _ => 2,
    };
    match bytes.get(header..).unwrap_or_default() {
        // A certificate begins with the SEQUENCE that is signed; an encrypted key with its algorithm.
        [0x30, ..] => format!(
            "it is DER, not PEM; `openssl x509 -inform DER -in {file} -out chain.pem` makes PEM of a certificate, \
             `openssl pkey -inform DER -in {file} -out key.pem` of an encrypted key"
        ),
        [2, 1, 3, ..] => format!(
            "it is PKCS#12, not PEM; `openssl pkcs12 -in {file} -nokeys -out chain.pem` writes its certificates, \
             `openssl pkcs12 -in {file} -nocerts -nodes -out key.pem` its key"
        ),
        [2, ..] => format!(
            "it is DER, not PEM; `openssl pkey -inform DER -in {file} -out key.pem` makes PEM of a private key"
        ),
        [6, ..] => format!(
            "it is PKCS#7, not PEM; `openssl pkcs7 -inform DER -in {file} -print_certs -out chain.pem` writes its certificates"
        ),
        _ => "it is binary, not PEM".into(),
    }
}

/// Quotes a path for a shell.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
