//! Key files of a description: an error is shown at the file's name in the description, and a warning is a note of the
//! plan.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use selkie::{Diagnostics, Plan};

/// Plans a description whose vault has a key from files: a certificate with this change, and its key.
fn planned(change: impl FnOnce(&mut CertificateParams)) -> Result<Plan, Diagnostics> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = fs::read_to_string(root.join("keys_file_missing.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(vec!["selkie.test".to_owned()]).unwrap();
    change(&mut params);
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("server.pem", &certificate.pem());
    write("server.key", &pair.serialize_pem());
    write("system.toml", &text);
    selkie::plan(&root, &folder.path().join("system.toml"), "pc99")
}

#[test]
fn a_certificate_that_no_client_accepts_is_refused_where_it_is_named() {
    let wrong = planned(|params| params.subject_alt_names.clear()).unwrap_err();
    let [problem] = &wrong.problems[..] else {
        panic!("{wrong}");
    };
    assert_eq!(problem.message, "`server.pem` cannot be used");
    assert_eq!(problem.position(), Some((22, 27)));
    let help = problem.help.as_deref().unwrap_or_default();
    assert!(
        help.starts_with("server.pem: its first certificate is for no DNS name"),
        "{help}"
    );
}

#[test]
fn a_certificate_that_some_clients_refuse_is_warned_of() {
    let ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let plan = planned(|params| params.is_ca = ca).unwrap();
    let said =
        "warning: server.pem: certificate 1 is an authority's (basicConstraints has CA:TRUE)";
    assert!(
        plan.notes.iter().any(|note| note.starts_with(said)),
        "{:?}",
        plan.notes
    );
    assert!(
        planned(|_| ())
            .unwrap()
            .notes
            .iter()
            .all(|note| !note.contains("warning"))
    );
}
