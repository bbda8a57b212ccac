//! Certificate authorities of the tests, and certificates for clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use crate::{Failed, data};

/// A day's grace for a guest whose clock is behind, and a day to run the tests in.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority that is made for one test run.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key in files.
#[derive(Clone, Debug)]
pub struct Holder {
    /// PEM file of the certificate.
    pub certificate: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
    /// SHA-256 of the certificate in hexadecimal.
    pub fingerprint: String,
}

impl Authority {
    /// An authority of this name.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn new(name: &str) -> Result<Self, Failed> {
        let key = KeyPair::generate()?;
        let mut params = params(&[])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// Gives a client a certificate for this name and writes both files into the folder.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn client(&self, name: &str, folder: &Path) -> Result<Holder, Failed> {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth, folder)
    }

    /// As [`Authority::client`], for a server.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn server(&self, name: &str, folder: &Path) -> Result<Holder, Failed> {
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, folder)
    }

    fn issue(
        &self,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        folder: &Path,
    ) -> Result<Holder, Failed> {
        let key = KeyPair::generate()?;
        let mut params = params(&[name.to_string()])?;
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::create_dir_all(folder)?;
        let file = |ending: &str| folder.join(format!("{name}.{ending}.pem"));
        let holder = Holder {
            certificate: file("certificate"),
            key: file("key"),
            fingerprint: data::sha256(certificate.der()),
        };
        fs::write(&holder.certificate, certificate.pem())?;
        fs::write(&holder.key, key.serialize_pem())?;
        Ok(holder)
    }
}

fn params(names: &[String]) -> Result<CertificateParams, Failed> {
    let mut params = CertificateParams::new(names)?;
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + DAY).into();
    Ok(params)
}
