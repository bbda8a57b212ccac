use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedIssuer, DistinguishedName, DnType, Issuer, KeyPair};
use tempfile::TempDir;

use super::*;

/// Reads a key that OpenSSL wrote: `tests/keys/README.md`.
fn key_text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// A folder for a chain and a key.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// Reads the key from these two files.
    fn made(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<FromFiles, String> {
        let (chain, key) = (self.write("chain.pem", chain), self.write("key.pem", key));
        let made = from_files(&chain, &key);
        let folder = format!("{}/", self.folder.path().display());
        made.map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn error(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> String {
        self.made(chain, key).err().expect("an error")
    }
}

fn pair() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Makes a self-signed certificate for the key that OpenSSL wrote in PKCS#8.
fn certificate_for(key: &str) -> String {
    let pair = KeyPair::from_pem(&key_text(key)).unwrap();
    params("selkie.test").self_signed(&pair).unwrap().pem()
}

/// Makes a certificate with a change, and its key.
fn changed(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let (pair, mut params) = (pair(), params("selkie.test"));
    change(&mut params);
    (
        params.self_signed(&pair).unwrap().pem(),
        pair.serialize_pem(),
    )
}

#[test]
fn takes_every_kind_of_key_that_a_vault_signs_with() {
    let files = Files::new();
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let chain = params("selkie.test").self_signed(&pair).unwrap().pem();
        let made = files.made(&chain, pair.serialize_pem()).unwrap();
        let Entry::Prefilled { chain, names, .. } = made.entry else {
            panic!("files make a prefilled key");
        };
        assert_eq!(
            (chain.len(), &names[..]),
            (1, &["selkie.test".to_owned()][..])
        );
        assert!(made.warnings.is_empty(), "{:?}", made.warnings);
    }
}

#[test]
fn takes_keys_in_the_forms_that_openssl_writes() {
    let files = Files::new();
    for (key, same) in [
        ("p256.sec1.pem", "p256.pkcs8.pem"),
        ("p256.no-public.pem", "p256.pkcs8.pem"),
        ("p256.pkcs8.pem", "p256.pkcs8.pem"),
        ("p384.sec1.pem", "p384.pkcs8.pem"),
        ("rsa2048.pkcs1.pem", "rsa2048.pkcs8.pem"),
        ("rsa2048.pkcs8.pem", "rsa2048.pkcs8.pem"),
    ] {
        let chain = certificate_for(same);
        if let Err(error) = files.made(chain, key_text(key)) {
            panic!("{key}: {error}");
        }
    }
}

#[test]
fn skips_marks_and_text_around_the_sections() {
    let files = Files::new();
    let (chain, key) = (certificate_for("p256.pkcs8.pem"), key_text("p256.sec1.pem"));
    let texts = |around: &dyn Fn(&str) -> String| [around(&chain), around(&key)];
    for [chain, key] in [
        texts(&|text| format!("\u{feff}{text}")),
        texts(&|text| text.replace('\n', "\r\n")),
        texts(&|text| {
            format!("Bag Attributes\n    friendlyName: a\nsubject=CN = selkie.test\n\n{text}")
        }),
        texts(&|text| format!("{text}\nafter it\n")),
        texts(&|text| text.trim_end().to_owned()),
    ] {
        files.made(chain, key).unwrap();
    }
    // One file with all.
    files
        .made(format!("{key}{chain}"), format!("{chain}{key}"))
        .unwrap();
}

#[test]
fn says_how_to_decrypt_an_encrypted_key() {
    let files = Files::new();
    let chain = certificate_for("p256.pkcs8.pem");
    for key in ["p256.encrypted.pem", "p256.proc-type.pem"] {
        let error = files.error(&chain, key_text(key));
        let start = "key.pem: the private key is encrypted; `openssl pkey -in ";
        assert!(error.starts_with(start), "{key}: {error}");
    }
    // The path is one word for a shell.
    let file = files.write("my key.pem", key_text("p256.encrypted.pem"));
    let error = from_files(&files.write("chain.pem", &chain), &file)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("my key.pem' -out decrypted.key"),
        "{error}"
    );
}

#[test]
fn names_the_kinds_that_a_vault_does_not_sign_with() {
    let files = Files::new();
    let chain = certificate_for("p256.pkcs8.pem");
    for (key, said) in [
        (
            "p521.sec1.pem",
            "the private key is P-521; a vault signs with",
        ),
        (
            "ed448.pkcs8.pem",
            "the private key is Ed448; a vault signs with",
        ),
        (
            "rsa1024.pkcs8.pem",
            "the private key is RSA with 1024 bits; a vault signs with",
        ),
        (
            "openssh.pem",
            "the private key is in OpenSSH's form; `ssh-keygen -p -m PKCS8",
        ),
        ("p256.explicit.pem", "-param_enc named_curve"),
    ] {
        let error = files.error(&chain, key_text(key));
        assert!(error.contains(said), "{key}: {error}");
    }
}

#[test]
fn names_the_kind_of_a_certificate_that_a_vault_does_not_sign_for() {
    let files = Files::new();
    for (chain, said) in [
        (
            "p521.certificate.pem",
            "the first certificate's key is P-521",
        ),
        (
            "rsa1024.certificate.pem",
            "the first certificate's key is RSA with 1024 bits",
        ),
    ] {
        let error = files.error(key_text(chain), key_text("p256.pkcs8.pem"));
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn refuses_a_second_key() {
    let files = Files::new();
    let chain = certificate_for("p256.pkcs8.pem");
    let two = key_text("p256.pkcs8.pem") + &key_text("p384.pkcs8.pem");
    let error = files.error(chain, two);
    assert!(error.contains("there are 2 private keys in it"), "{error}");
}

#[test]
fn recognises_files_that_are_not_pem() {
    let files = Files::new();
    let (chain, key) = (
        certificate_for("p256.pkcs8.pem"),
        key_text("p256.pkcs8.pem"),
    );
    let der = |text: &str| ::pem::parse(text).unwrap().into_contents();
    let error = files.error(der(&chain), &key);
    assert!(
        error.contains("it is DER, not PEM; `openssl x509 -inform DER"),
        "{error}"
    );
    let error = files.error(&chain, der(&key));
    assert!(error.contains("`openssl pkey -inform DER"), "{error}");
    // PFX ::= SEQUENCE { version INTEGER {v3(3)}, … }: RFC 7292, section 4.
    let error = files.error([0x30, 0x82, 4, 0, 2, 1, 3, 0x30], &key);
    assert!(error.contains("it is PKCS#12"), "{error}");
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(chain.bytes().flat_map(|b| [b, 0]))
        .collect();
    assert!(files.error(utf16, &key).contains("UTF-16"));
    assert!(files.error("", &key).contains("it is empty"));
    assert!(files.error("text", &key).contains("it is no PEM file"));
    assert!(
        files
            .error(&chain[..chain.len() - 20], &key)
            .contains("damaged PEM")
    );
    let damaged = chain.replacen("MII", "M$I", 1);
    assert!(files.error(damaged, &key).contains("damaged PEM"));
    let error = files.error(&key, &key);
    assert!(
        error.contains("no certificate in it, but `PRIVATE KEY`"),
        "{error}"
    );
    let error = files.error(&chain, &chain);
    assert!(
        error.contains("no private key in it, but `CERTIFICATE`"),
        "{error}"
    );
    let nothing = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let error = files.error(nothing, &key);
    assert!(error.contains("certificate 1: "), "{error}");
    let chain = files.write("chain.pem", &chain);
    let error = from_files(&chain, Path::new("/nowhere")).err().unwrap();
    assert_eq!(error.to_string(), "/nowhere: No such file or directory");
    let error = from_files(&chain, Path::new("/dev/zero")).err().unwrap();
    assert_eq!(
        error.to_string(),
        "/dev/zero: it is a device, not a regular file"
    );
}

#[test]
fn refuses_certificates_that_no_client_accepts() {
    let files = Files::new();
    let day = rcgen::date_time_ymd;
    type Change = fn(&mut CertificateParams);
    let changes: [(Change, &str); 4] = [
        (
            |params| params.subject_alt_names.clear(),
            "for no DNS name or address (subjectAltName)",
        ),
        (
            |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1),
            "but from 1975-01-01 to 2001-01-01",
        ),
        (
            |params| params.not_before = rcgen::date_time_ymd(4000, 1, 1),
            "but from 4000-01-01 to 4096-01-01",
        ),
        (
            |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
            },
            "neither serverAuth nor clientAuth",
        ),
    ];
    for (change, said) in changes {
        let (chain, key) = changed(|params| {
            params.not_before = day(1975, 1, 1);
            params.not_after = day(4096, 1, 1);
            change(params);
        });
        let error = files.error(chain, key);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn warns_of_what_expires_within_thirty_days() {
    let files = Files::new();
    let (chain, _) = changed(|params| {
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 4, 1);
    });
    let chain = files.write("chain.pem", chain);
    // Days after 1 January 2030, 0 h UTC; the certificate ends on day 90.
    let warnings = |day: i64| {
        let now = ASN1Time::from_timestamp(1_893_456_000 + day * 86_400).unwrap();
        let read = Chain::read(&chain, now).map_err(|error| error.to_string());
        read.map(|chain| chain.warnings)
    };
    assert_eq!(warnings(59).unwrap(), Vec::<String>::new());
    let [warning] = &warnings(60).unwrap()[..] else {
        panic!("it has a month left");
    };
    assert!(
        warning.ends_with("chain.pem: certificate 1 expires on 2030-04-01, in 30 days"),
        "{warning}"
    );
    let error = warnings(91).unwrap_err();
    assert!(error.contains("not valid now, on 2030-04-02"), "{error}");
}

#[test]
fn warns_of_what_some_clients_refuse() {
    let files = Files::new();
    let (chain, key) = changed(|params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let warnings = files.made(chain, key).unwrap().warnings;
    for said in ["CA:TRUE", "no digitalSignature", "no serverAuth"] {
        assert!(
            warnings.iter().any(|warning| warning.contains(said)),
            "{said}: {warnings:?}"
        );
    }
}

/// Makes a chain of three: the key's certificate, an intermediate authority, and the root.
fn three() -> (KeyPair, [String; 3], CertifiedIssuer<'static, KeyPair>) {
    let ca = |name: &str| {
        let mut params = params(name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    };
    let root = CertifiedIssuer::self_signed(ca("root.test"), pair()).unwrap();
    let middle_key = pair();
    let middle = ca("middle.test").signed_by(&middle_key, &root).unwrap();
    let issuer = Issuer::new(ca("middle.test"), middle_key);
    let key = pair();
    let leaf = params("leaf.test").signed_by(&key, &issuer).unwrap();
    let texts = [leaf.pem(), middle.pem(), root.pem()];
    (key, texts, root)
}

#[test]
fn a_chain_is_in_order() {
    let files = Files::new();
    let (key, [leaf, middle, root], _) = three();
    let key = key.serialize_pem();
    for chain in [
        leaf.clone(),
        format!("{leaf}{middle}"),
        format!("{leaf}{middle}{root}"),
    ] {
        files.made(chain, &key).unwrap();
    }
    for (chain, said) in [
        (
            format!("{middle}{leaf}"),
            "certificate 1 is not signed by certificate 2; the right order is 2, 1",
        ),
        (
            format!("{root}{leaf}{middle}"),
            "the right order is 2, 3, 1",
        ),
        (
            format!("{leaf}{leaf}{middle}"),
            "2 is the same as 1: leave it out",
        ),
        (
            format!("{leaf}{root}"),
            "certificate 1 is not signed by certificate 2",
        ),
    ] {
        let error = files.error(chain, &key);
        assert!(error.contains("it is no chain: "), "{error}");
        assert!(error.contains(said), "{error}");
    }
    // An authority of the same name with another key has not signed it.
    let impostor = params("middle.test").self_signed(&pair()).unwrap().pem();
    let error = files.error(format!("{leaf}{impostor}"), &key);
    assert!(
        error.contains("certificate 1 is not signed by certificate 2"),
        "{error}"
    );
}

#[test]
fn a_key_belongs_to_the_first_certificate() {
    let files = Files::new();
    let (_, [leaf, ..], root) = three();
    let error = files.error(&leaf, pair().serialize_pem());
    assert_eq!(
        error,
        "chain.pem and key.pem: the first certificate is for another key"
    );
    let own = pair();
    let signed = params("a.test").signed_by(&own, &root).unwrap().pem();
    let chain = signed + &root.pem();
    let error = files.error(chain, root.key().serialize_pem());
    assert_eq!(
        error,
        "chain.pem and key.pem: the key belongs to certificate 2 of the chain; it must belong to the first"
    );
}

#[test]
fn authorities_are_read_from_pem_files_too() {
    let files = Files::new();
    let (_, [.., root], _) = three();
    let file = files.write("root.pem", format!("\u{feff}{root}"));
    assert!(authorities(&file).is_ok());
    let file = files.write("root.pem", key_text("p256.pkcs8.pem"));
    let error = authorities(&file).err().unwrap().to_string();
    assert!(error.contains("no certificate in it"), "{error}");
}
