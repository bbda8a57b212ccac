//! The site bundle: a folder of static files as one read-only block of bytes.
//!
//! The builder writes it on the host ([`Writer`]); the HTTP protection domain reads it in place
//! ([`Bundle`]). Numbers are little-endian:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `selkie\x00` and the format's version, 1 |
//! | 8 | 4 | number of files |
//! | 12 | 4 | length of the whole bundle |
//! | 16 | 56 each | index, sorted by path: offset and length of path, media type and content (4 bytes each), tag |
//! | … | | paths, media types; contents, each at a multiple of 16 |
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

mod media_type;
mod writer;

use core::fmt;

pub use media_type::media_type;
pub use writer::{AddError, Writer};

const MAGIC: [u8; 8] = *b"selkie\x00\x01";
const HEADER: usize = 16;
const ENTRY: usize = 56;

/// A checked bundle, read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    bytes: &'a [u8],
    count: u32,
}

/// A file of a bundle: its place in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u32);

/// A file's content and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Path relative to the site's root, without a leading slash.
    pub path: &'a str,
    /// Value of `Content-Type`.
    pub media_type: &'a str,
    /// The content.
    pub content: &'a [u8],
    /// The first half of the content's SHA-256, 32 hexadecimal digits: in quotes it is a strong entity
    /// tag (RFC 9110, section 8.8.3).
    pub tag: &'a str,
}

/// Bytes that are not a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// They do not begin with the bundle's mark and a known version.
    UnknownFormat,
    /// They are shorter than their own header says.
    Truncated,
    /// The index entry of this number points outside, is not text, or is out of order.
    BadEntry(u32),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFormat => f.write_str("not a site bundle of this version"),
            Self::Truncated => f.write_str("the site bundle is cut off"),
            Self::BadEntry(entry) => write!(f, "entry {entry} of the site bundle is wrong"),
        }
    }
}

impl core::error::Error for BundleError {}

impl<'a> Bundle<'a> {
    /// Checks a bundle; bytes behind it (the rest of a page) are ignored. Contents are not hashed.
    ///
    /// # Errors
    /// [`BundleError`], if anything in header or index is wrong.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BundleError> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(BundleError::UnknownFormat);
        }
        let count = word(bytes, 8).ok_or(BundleError::Truncated)?;
        let length = word(bytes, 12).ok_or(BundleError::Truncated)? as usize;
        let bytes = bytes.get(..length).ok_or(BundleError::Truncated)?;
        let index = (count as usize).checked_mul(ENTRY);
        if index.is_none_or(|index| index > bytes.len().saturating_sub(HEADER)) {
            return Err(BundleError::Truncated);
        }
        let bundle = Self { bytes, count };
        let mut last = None;
        for entry in 0..count {
            let file = bundle
                .file(FileId(entry))
                .filter(|file| file.tag.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .ok_or(BundleError::BadEntry(entry))?;
            if last.is_some_and(|last| last >= file.path) {
                return Err(BundleError::BadEntry(entry));
            }
            last = Some(file.path);
        }
        Ok(bundle)
    }

    /// The file with exactly this path, by binary search.
    pub fn find(&self, path: &str) -> Option<FileId> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.file(FileId(middle))?.path.cmp(path) {
                core::cmp::Ordering::Equal => return Some(FileId(middle)),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The file itself; none for an id of another bundle that is out of range here.
    pub fn file(&self, id: FileId) -> Option<File<'a>> {
        if id.0 >= self.count {
            return None;
        }
        let at = HEADER + id.0 as usize * ENTRY;
        let tag = core::str::from_utf8(self.bytes.get(at + 24..at + ENTRY)?).ok()?;
        Some(File {
            path: self.text(at)?,
            media_type: self.text(at + 8)?,
            content: self.slice(at + 16)?,
            tag,
        })
    }

    /// All files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = File<'a>> + use<'a> {
        let bundle = *self;
        (0..self.count).filter_map(move |id| bundle.file(FileId(id)))
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        core::str::from_utf8(self.slice(at)?).ok()
    }

    fn slice(&self, at: usize) -> Option<&'a [u8]> {
        let offset = word(self.bytes, at)? as usize;
        let length = word(self.bytes, at + 4)? as usize;
        self.bytes.get(offset..offset.checked_add(length)?)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn example() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.add("style.css", b"a{}").unwrap();
        writer.add("docs/index.html", b"<p>").unwrap();
        writer.add("empty", b"").unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_found() {
        let mut bytes = example();
        bytes.resize(4096, 0);
        let bundle = Bundle::new(&bytes).unwrap();
        assert_eq!(
            bundle.files().map(|f| f.path).collect::<Vec<_>>(),
            ["docs/index.html", "empty", "style.css"]
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
    fn the_index_must_be_sorted() {
        let mut bytes = example();
        let (first, rest) = bytes[HEADER..].split_at_mut(ENTRY);
        first.swap_with_slice(&mut rest[..ENTRY]);
        assert_eq!(Bundle::new(&bytes).unwrap_err(), BundleError::BadEntry(1));
    }

    proptest! {
        #[test]
        fn damage_never_panics(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..8)) {
            let mut bytes = example();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Ok(bundle) = Bundle::new(&bytes) {
                for file in bundle.files() {
                    prop_assert!(file.content.len() <= bytes.len());
                    prop_assert!(bundle.find(file.path).is_some());
                }
            }
        }
    }
}
