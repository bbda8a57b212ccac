//! The files of a site's folder, without any that lies outside of it.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use crate::files::plain;
use crate::site::is_served;

/// Maximum number of files and folders of a site. It keeps the builder from listing a whole disk when a path is wrong.
pub(super) const MOST_ENTRIES: usize = 65_536;

/// A file of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path in the site, with `/` between its segments.
    pub inside: String,
    /// Its canonical path, without links, so that the file that is read is the one that was checked.
    pub path: PathBuf,
}

/// The entries of a site's folder.
#[derive(Debug)]
pub(super) struct Walked {
    /// The files of the site, sorted by path within each folder.
    pub files: Vec<Found>,
    /// Paths of hidden files and folders, which are no part of the site.
    pub left_out: Vec<String>,
}

/// Lists the files of a folder, sorted by path, so that the same folder always gives the same list.
///
/// # Errors
/// The entry that cannot be listed, or must not be served, with the reason.
pub(super) fn walk(folder: &Path, follow_links: bool) -> Result<Walked, String> {
    let root = fs::canonicalize(folder).map_err(|error| plain(&error))?;
    let mut walk = Walk {
        root: root.clone(),
        follow_links,
        above: Vec::new(),
        entries: 0,
        walked: Walked {
            files: Vec::new(),
            left_out: Vec::new(),
        },
    };
    walk.folder(&root, "")?;
    Ok(walk.walked)
}

struct Walk {
    /// The site's folder, without links.
    root: PathBuf,
    follow_links: bool,
    /// The folder that is listed and those that it lies in, without links, each with its path in the site.
    above: Vec<(PathBuf, String)>,
    entries: usize,
    walked: Walked,
}

impl Walk {
    /// Lists a folder, whose path has no links.
    fn folder(&mut self, folder: &Path, inside: &str) -> Result<(), String> {
        self.above.push((folder.to_owned(), inside.to_owned()));
        for name in names(folder, inside)? {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Err(format!(
                    "it holds more than {MOST_ENTRIES} files and folders"
                ));
            }
            let child = match inside {
                "" => name.clone(),
                inside => format!("{inside}/{name}"),
            };
            if is_served(&name, inside.is_empty()) {
                self.entry(folder.join(name), child)?;
            } else {
                self.walked.left_out.push(child);
            }
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, inside: String) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("`{inside}`: {}", plain(&error));
        let is_link = fs::symlink_metadata(&path).map_err(failed)?.is_symlink();
        let path = if is_link {
            self.target(&path, &inside)?
        } else {
            path
        };
        if fs::metadata(&path).map_err(failed)?.is_dir() {
            self.folder(&path, &inside)
        } else {
            self.walked.files.push(Found { inside, path });
            Ok(())
        }
    }

    /// Resolves a link.
    fn target(&self, link: &Path, inside: &str) -> Result<PathBuf, String> {
        let to = fs::read_link(link).unwrap_or_default();
        let shown = format!("the link `{inside}` leads to `{}`", to.display());
        let target =
            fs::canonicalize(link).map_err(|error| {
                match rustix::io::Errno::from_io_error(&error) {
                    Some(rustix::io::Errno::LOOP) => {
                        format!("{shown}, which leads back to it: a loop")
                    }
                    _ => format!("{shown}: {}", plain(&error)),
                }
            })?;
        if !self.follow_links && !target.starts_with(&self.root) {
            return Err(format!(
                "{shown}, which lies outside of the folder and would be served; remove the link, or write \
                 {{ folder = \"…\", follow_links = true }}"
            ));
        }
        if let Some((_, above)) = self.above.iter().find(|(above, _)| *above == target) {
            let above = if above.is_empty() {
                "the site's folder itself".to_owned()
            } else {
                format!("`{above}`, in which it lies")
            };
            return Err(format!("{shown}, that is, to {above}: a loop"));
        }
        Ok(target)
    }
}

/// Returns the names in a folder, sorted.
fn names(folder: &Path, inside: &str) -> Result<Vec<String>, String> {
    let shown = match inside {
        "" => String::new(),
        inside => format!("`{inside}`: "),
    };
    let failed = |error: std::io::Error| format!("{shown}{}", plain(&error));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry: DirEntry = entry.map_err(failed)?;
        let name = entry.file_name().into_string().map_err(|name| {
            let name = name.to_string_lossy();
            format!("{shown}the name `{name}` is not UTF-8, so that no request could name the file")
        })?;
        names.push(name);
    }
    names.sort();
    Ok(names)
}
