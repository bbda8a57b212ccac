//! Writes bundles, on the host.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest, Sha256};

use super::{ENTRY, HEADER, MAGIC, media_type};

/// Collects files and writes a bundle of them. The same files give the same bytes, in any order.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    files: Vec<(String, Vec<u8>)>,
}

/// A file that cannot be in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddError {
    /// The path is empty, absolute, or has an empty, `.` or `..` segment.
    BadPath(String),
    /// There is a file of this path already.
    Twice(String),
    /// The bundle would be larger than 4 GiB.
    TooLarge,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPath(path) => write!(f, "`{path}` is no relative path without `.` and `..`"),
            Self::Twice(path) => write!(f, "`{path}` was added twice"),
            Self::TooLarge => f.write_str("a site bundle holds at most 4 GiB"),
        }
    }
}

impl core::error::Error for AddError {}

impl Writer {
    /// An empty bundle.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. `path` is relative to the site's root, with `/` between its segments; the media
    /// type follows from its extension (see [`media_type()`]).
    ///
    /// # Errors
    /// [`AddError::BadPath`] or [`AddError::Twice`].
    pub fn add(&mut self, path: &str, content: &[u8]) -> Result<(), AddError> {
        if path
            .split('/')
            .any(|segment| matches!(segment, "" | "." | ".."))
        {
            return Err(AddError::BadPath(path.to_string()));
        }
        match self
            .files
            .binary_search_by(|(other, _)| other.as_str().cmp(path))
        {
            Ok(_) => Err(AddError::Twice(path.to_string())),
            Err(at) => {
                self.files.insert(at, (path.to_string(), content.to_vec()));
                Ok(())
            }
        }
    }

    /// The bundle's bytes.
    ///
    /// # Errors
    /// [`AddError::TooLarge`].
    pub fn finish(self) -> Result<Vec<u8>, AddError> {
        let mut index = Vec::with_capacity(self.files.len() * ENTRY);
        let mut data = Vec::new();
        let start = HEADER + self.files.len() * ENTRY;
        for (path, content) in &self.files {
            push(&mut index, &mut data, start, path.as_bytes())?;
            push(&mut index, &mut data, start, media_type(path).as_bytes())?;
            data.resize((start + data.len()).next_multiple_of(16) - start, 0);
            push(&mut index, &mut data, start, content)?;
            let hash = Sha256::digest(content);
            index.extend(
                hash[..16]
                    .iter()
                    .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]),
            );
        }
        let length = start + data.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(MAGIC);
        bytes.extend(word(self.files.len())?);
        bytes.extend(word(length)?);
        bytes.append(&mut index);
        bytes.append(&mut data);
        Ok(bytes)
    }
}

fn push(
    index: &mut Vec<u8>,
    data: &mut Vec<u8>,
    start: usize,
    bytes: &[u8],
) -> Result<(), AddError> {
    index.extend(word(start + data.len())?);
    index.extend(word(bytes.len())?);
    data.extend(bytes);
    Ok(())
}

fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 15)]
}

fn word(value: usize) -> Result<[u8; 4], AddError> {
    u32::try_from(value)
        .map(u32::to_le_bytes)
        .map_err(|_| AddError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_refused() {
        let mut writer = Writer::new();
        for path in ["", "/a", "a/", "a//b", "../a", "a/./b"] {
            assert_eq!(writer.add(path, b""), Err(AddError::BadPath(path.into())));
        }
        writer.add("a", b"").unwrap();
        assert_eq!(writer.add("a", b""), Err(AddError::Twice("a".into())));
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let mut one = Writer::new();
        one.add("a", b"1").unwrap();
        one.add("b", b"2").unwrap();
        let mut two = Writer::new();
        two.add("b", b"2").unwrap();
        two.add("a", b"1").unwrap();
        assert_eq!(one.finish(), two.finish());
    }
}
