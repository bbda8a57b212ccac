//! A folder as a site bundle.

mod walk;

use std::path::Path;

use http::bundle::Writer;

use crate::files::{self, ReadError};
use crate::toml::show_size;

use walk::{Found, Walked, walk};

/// The files of a site's folder, and the paths that are left out.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// The files, for the bundle that the HTTP server reads.
    pub writer: Writer,
    /// Paths of hidden files and folders, relative to the folder.
    pub left_out: Vec<String>,
}

/// Reads a site's folder. Hidden names are left out, see [`is_served`](crate::site::is_served).
///
/// `most` is the maximum size of all files together, in bytes. Links that lead out of the folder are refused unless
/// `follow_links` is set.
///
/// # Errors
/// Why the folder makes no bundle.
pub(crate) fn site(folder: &Path, most: u64, follow_links: bool) -> Result<Folder, String> {
    let Walked { files, left_out } = walk(folder, follow_links)?;
    if files.is_empty() {
        return Err("the folder holds no file; put at least one into it".into());
    }
    let mut writer = Writer::new();
    let mut used: u64 = 0;
    for Found { inside, path } in files {
        let bytes = files::read(&path, most - used).map_err(|error| match error {
            ReadError::TooLarge { size, .. } => too_large(&inside, size, used, most),
            error => format!("`{inside}`: {error}"),
        })?;
        used += bytes.len() as u64;
        let added = writer.add(&inside, &bytes);
        added.map_err(|error| format!("`{inside}`: {error}"))?;
    }
    Ok(Folder { writer, left_out })
}

fn too_large(inside: &str, size: u64, used: u64, most: u64) -> String {
    let (size, most) = (show_size(size), show_size(most));
    if used == 0 {
        return format!("`{inside}` has {size}, the board's memory {most}");
    }
    let used = show_size(used);
    format!(
        "`{inside}` has {size}, the files before it {used}: more than the board's memory, {most}"
    )
}

#[cfg(test)]
mod tests;
