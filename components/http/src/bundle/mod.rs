//! The site bundle: a folder of static files with their metadata, as one read-only block of bytes.
//!
//! The builder writes it on the host ([`Writer`]); the HTTP protection domain reads it in place
//! ([`Bundle`]). What the description says of a site is checked and worked out there: header fields lie beside the
//! file that they belong to, and only redirects and rewrites are compared with a request's path. Numbers are
//! little-endian; a text is an offset and a length of 4 bytes each:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `selkie\x00` and the format's version, 2 |
//! | 8 | 4 | number of files |
//! | 12 | 4 | length of the whole bundle |
//! | 16 | 4 | number of rules |
//! | 20 | 4 | the file for what is not found, by its place in the index from 1 on; 0: none |
//! | 24 | 4 | the file that stands for all paths that are not found, likewise |
//! | 28 | 4 | 0 |
//! | 32 | 88 each | index, sorted by path: path, media type, content, value of `Cache-Control`, further fields (a line each, CR LF before it), tag (32 digits); the files that are this one in `zstd`, `br` and `gzip`, from 1 on (4 bytes each); flags (4 bytes) |
//! | … | 20 each | rules, in the order in which they are tried: a redirect's status or 0 for a rewrite (4 bytes), pattern, target |
//! | … | | texts; contents, each at a multiple of 16 |
//!
//! ```
//! use http::bundle::{Bundle, Writer};
//!
//! let mut writer = Writer::new();
//! writer.add("index.html", b"<!doctype html>").unwrap();
//! let bytes = writer.finish().unwrap();
//! let bundle = Bundle::new(&bytes).unwrap();
//! let file = bundle.file(bundle.find("index.html").unwrap()).unwrap();
//! assert_eq!(file.media_type, "text/html; charset=utf-8");
//! ```

mod coding;
mod field;
mod format;
mod media_type;
mod pattern;
mod reader;
mod template;
mod writer;

pub use coding::Coding;
pub use field::{FieldError, check_field, check_value};
pub use media_type::media_type;
pub use pattern::{MAX_WILDCARDS, Parts, Pattern, PatternError};
pub use reader::{Bundle, BundleError, File, FileId, Rule};
pub(crate) use template::MAX_PIECES;
pub use template::{Piece, Template, TemplateError};
pub use writer::{AddError, Draft, RuleError, Writer};

#[cfg(test)]
mod tests {
    use super::format::{ENTRY, HEADER, RULE, entry};
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn example() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.add("style.css", b"a{}").unwrap();
        writer.add("docs/index.html", b"<p>").unwrap();
        writer.add("empty", b"").unwrap();
        writer.add("style.css.br", b"br").unwrap();
        for file in writer.files_mut() {
            file.set_field("X-A", "b").unwrap();
        }
        writer.redirect("/old/*", "/new/$1", 301).unwrap();
        writer.rewrite("/a/**", "/docs/").unwrap();
        writer.set_fallback("empty").unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_found() {
        let mut bytes = example();
        bytes.resize(4096, 0);
        let bundle = Bundle::new(&bytes).unwrap();
        assert_eq!(
            bundle.files().map(|f| f.path).collect::<Vec<_>>(),
            ["docs/index.html", "empty", "style.css", "style.css.br"]
        );
        let css = bundle.file(bundle.find("style.css").unwrap()).unwrap();
        assert_eq!(
            (css.media_type, css.content),
            ("text/css; charset=utf-8", &b"a{}"[..])
        );
        assert_eq!(
            css.content.as_ptr() as usize % 16,
            bytes.as_ptr() as usize % 16
        );
        assert_eq!(bundle.find("style"), None);
        assert_eq!(bundle.find(""), None);
    }

    #[test]
    fn the_tag_is_the_hash() {
        let bytes = example();
        let bundle = Bundle::new(&bytes).unwrap();
        let empty = bundle.file(bundle.find("empty").unwrap()).unwrap();
        assert_eq!(empty.tag, "e3b0c44298fc1c149afbf4c8996fb924");
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = example();
        for length in 0..bytes.len() {
            assert!(Bundle::new(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn header_and_rules_are_checked() {
        let right = example();
        let rules = HEADER + 4 * ENTRY;
        for (at, value, error) in [
            (20, 5u32, BundleError::BadHeader),
            (24, 5, BundleError::BadHeader),
            // An invalid status; and a rewrite made a redirect, whose target is still a path.
            (rules, 304, BundleError::BadRule(0)),
            (rules + RULE, 300, BundleError::BadRule(1)),
            // The pattern of the first rule without its first byte.
            (rules + 8, 0, BundleError::BadRule(0)),
            // A variant that does not exist.
            (HEADER + entry::VARIANTS, 5, BundleError::BadEntry(0)),
        ] {
            let mut bytes = right.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(Bundle::new(&bytes).unwrap_err(), error, "{at}");
        }
        let mut bytes = right.clone();
        let count = bytes[16..20].iter_mut().next().unwrap();
        *count = 200;
        assert!(Bundle::new(&bytes).is_err());
        let at = right.windows(6).position(|w| w == b"X-A: b").unwrap();
        let mut bytes = right.clone();
        bytes[at + 5] = b'\n';
        assert!(matches!(Bundle::new(&bytes), Err(BundleError::BadEntry(_))));
    }

    #[test]
    fn joined_paths_are_found() {
        let bytes = example();
        let bundle = Bundle::new(&bytes).unwrap();
        let docs = bundle.find("docs/index.html");
        assert!(docs.is_some());
        for parts in [
            &["docs", "/", "index.html"][..],
            &["", "docs/", "", "index.html", ""],
        ] {
            assert_eq!(bundle.find_joined(parts), docs);
        }
        for parts in [
            &["docs"][..],
            &["docs/", "index.html", "x"],
            &["docs/", "index.htm"],
            &[],
        ] {
            assert_eq!(bundle.find_joined(parts), None, "{parts:?}");
        }
    }

    #[test]
    fn the_index_must_be_sorted() {
        let mut bytes = example();
        let (first, rest) = bytes[HEADER..].split_at_mut(ENTRY);
        first.swap_with_slice(&mut rest[..ENTRY]);
        assert_eq!(Bundle::new(&bytes).unwrap_err(), BundleError::BadEntry(1));
    }

    proptest! {
        #[test]
        fn damage_never_panics(changes in prop::collection::vec((0usize..700, any::<u8>()), 1..8)) {
            let mut bytes = example();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Ok(bundle) = Bundle::new(&bytes) {
                prop_assert_eq!(bundle.rules().count(), 2);
                for id in [bundle.fallback(), bundle.not_found()].into_iter().flatten() {
                    prop_assert!(bundle.file(id).is_some());
                }
                for file in bundle.files() {
                    prop_assert!(file.content.len() <= bytes.len());
                    prop_assert!(bundle.find(file.path).is_some());
                    prop_assert!(!file.fields.contains("\r\n\r\n"));
                }
            }
        }
    }
}
