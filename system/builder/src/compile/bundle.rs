//! A folder as a site bundle.

use std::path::Path;

use http::bundle::Writer;

use crate::site::is_served;

/// Most bytes that a site may have; a path that is wrong should not make the builder read a whole disk.
const MOST_BYTES: u64 = 64 << 20;

/// The files of a folder, and what of it is no part of the site.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// The files, for the bundle that the HTTP server reads.
    pub writer: Writer,
    /// Paths of hidden files and folders, relative to the folder.
    pub left_out: Vec<String>,
}

/// Reads a site's folder. Hidden names are left out, see [`is_served`].
///
/// # Errors
/// Why the folder makes no bundle.
pub(crate) fn site(folder: &Path) -> Result<Folder, String> {
    let mut read = Folder::default();
    let mut left = MOST_BYTES;
    add(&mut read, folder, "", &mut left)?;
    if left == MOST_BYTES {
        return Err("the folder holds no file; put at least one into it".into());
    }
    Ok(read)
}

fn add(read: &mut Folder, folder: &Path, prefix: &str, left: &mut u64) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.into_string().map_err(|name| {
            let name = name.to_string_lossy();
            format!("the name `{name}` is not UTF-8")
        })?;
        names.push(name);
    }
    // The same folder gives the same bundle.
    names.sort();
    for name in names {
        let (path, inside) = (folder.join(&name), format!("{prefix}{name}"));
        if !is_served(&name, prefix.is_empty()) {
            read.left_out.push(inside);
            continue;
        }
        if path.is_dir() {
            add(read, &path, &format!("{inside}/"), left)?;
        } else {
            // An empty file counts too: folders with nothing else are bounded by this.
            let size = std::fs::metadata(&path).map_err(failed)?.len().max(1);
            *left = left
                .checked_sub(size)
                .ok_or_else(|| format!("the folder holds more than {} MiB", MOST_BYTES >> 20))?;
            let bytes = std::fs::read(&path).map_err(failed)?;
            let added = read.writer.add(&inside, &bytes);
            added.map_err(|error| format!("`{inside}`: {error}"))?;
        }
    }
    Ok(())
}
