//! Notes about the contents of a site's folder for the user who builds it.

mod csp;
mod listing;
mod markup;

use http::bundle::{AddError, Coding, Writer};

use csp::Policies;
use markup::Forbidden;

/// Maximum number of places of a site that are shown; the rest is counted.
const MOST_PLACES: usize = 12;

/// The only hidden folder whose files are public (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// Returns true if a file or folder of this name is part of the site. Names that begin with a point belong to tools,
/// such as `.git` and `.env`, except `.well-known` in the site's root.
pub(crate) fn is_served(name: &str, in_root: bool) -> bool {
    !name.starts_with('.') || in_root && name == WELL_KNOWN
}

/// Gives every folder without an `index.html` a page that lists it.
///
/// # Errors
/// [`AddError`].
pub(crate) fn list_folders(writer: &mut Writer) -> Result<(), AddError> {
    listing::add(writer)
}

/// Returns a note with the names that were left out of `folder`, the folder's name in the description.
pub(crate) fn left_out(folder: &str, names: &[String]) -> Option<String> {
    let folder = folder.trim_end_matches('/');
    let shown = shortened(names.iter().map(|name| format!("`{name}`")).collect());
    (!names.is_empty()).then(|| {
        format!(
            "left out of `{folder}`, because their names begin with a point: {}",
            shown.join(", ")
        )
    })
}

/// Returns notes about files whose name is that of another file's encoded form, but whose contents are not. They are
/// not sent in its place.
pub(crate) fn unfit_encoded(folder: &str, writer: &Writer) -> Vec<String> {
    let folder = folder.trim_end_matches('/');
    let mut notes = Vec::new();
    for file in writer.files() {
        for coding in Coding::ALL {
            let plain = file.path().strip_suffix(coding.suffix());
            let Some(plain) = plain.and_then(|plain| writer.file(plain)) else {
                continue;
            };
            if !coding.fits(file.content(), plain.content()) {
                notes.push(format!(
                    "`{folder}/{}` is not sent in place of `{}`: it is not that file in {}; make it again",
                    file.path(),
                    plain.path(),
                    coding.token()
                ));
            }
        }
    }
    shortened(notes)
}

/// Returns notes about parts of pages that their Content-Security-Policy forbids. `policy` applies to files without
/// their own, and `protection` is the PD that serves them.
pub(crate) fn forbidden(
    folder: &str,
    writer: &Writer,
    protection: &str,
    policy: &str,
) -> Vec<String> {
    let folder = folder.trim_end_matches('/');
    let mut notes = Vec::new();
    for file in writer.files() {
        if !file.media_type().starts_with("text/html") {
            continue;
        }
        let policies = Policies::new(file.field("content-security-policy").unwrap_or(policy));
        for Forbidden { line, what, hash } in markup::forbidden(file.content(), &policies) {
            let hash = hash.map(|hash| format!(" ('{hash}')")).unwrap_or_default();
            notes.push(format!(
                "{folder}/{}:{line}: the Content-Security-Policy forbids {what}{hash}",
                file.path()
            ));
        }
    }
    if notes.is_empty() {
        return notes;
    }
    let mut notes = shortened(notes);
    notes.push(format!(
        "browsers ignore these; the key `policy` in the `config` of `{protection}` sets the policy, which is now: {policy}"
    ));
    notes
}

/// Returns the first items, and the number of the others.
fn shortened(mut all: Vec<String>) -> Vec<String> {
    let more = all.len().saturating_sub(MOST_PLACES);
    all.truncate(MOST_PLACES);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names() {
        for (name, in_root, served) in [
            ("index.html", false, true),
            (".well-known", true, true),
            (".well-known", false, false),
            (".git", true, false),
            (".env", true, false),
            (".htaccess", false, false),
            ("a.b", true, true),
        ] {
            assert_eq!(is_served(name, in_root), served, "{name}");
        }
        assert_eq!(left_out("site/", &[]), None);
        let names = [".git".to_string(), "a/.env".to_string()];
        let expected =
            "left out of `site`, because their names begin with a point: `.git`, `a/.env`";
        assert_eq!(left_out("site/", &names).as_deref(), Some(expected));
    }

    #[test]
    fn pages_are_held_against_their_own_policy() {
        let mut writer = Writer::new();
        writer.add("a.html", b"<p>\n<p onclick=f()>").unwrap();
        writer.add("b.html", b"<p onclick=f()>").unwrap();
        writer.add("c.txt", b"<p onclick=f()>").unwrap();
        let own = &mut writer.files_mut()[1];
        own.set_field("Content-Security-Policy", "script-src 'unsafe-inline'")
            .unwrap();
        let notes = forbidden("site", &writer, "web", "default-src 'self'");
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert_eq!(
            notes[0],
            "site/a.html:2: the Content-Security-Policy forbids the event handler `onclick`"
        );
        assert!(notes[1].contains("the key `policy` in the `config` of `web`"));
        assert_eq!(
            forbidden("site", &writer, "web", "img-src *"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let mut writer = Writer::new();
        writer
            .add("a.html", "<p onclick=f()>".repeat(40).as_bytes())
            .unwrap();
        let notes = forbidden("site", &writer, "web", "default-src 'self'");
        assert_eq!(notes.len(), MOST_PLACES + 2);
        assert_eq!(notes[MOST_PLACES], "and 28 more");
    }

    #[test]
    fn what_only_seems_to_be_encoded_is_named() {
        let mut writer = Writer::new();
        writer.add("a.js", b"let a").unwrap();
        writer.add("a.js.gz", b"\x1f\x8b\x08...\x04\0\0\0").unwrap();
        writer.add("b.gz", b"whatever").unwrap();
        let notes = unfit_encoded("site/", &writer);
        assert_eq!(
            notes,
            [
                "`site/a.js.gz` is not sent in place of `a.js`: it is not that file in gzip; make it again"
            ]
        );
    }
}
