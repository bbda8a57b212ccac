//! Reads the files that a user names: regular files only, up to a limit.
//!
//! A path in a description may name a FIFO, whose open would block, a device such as `/dev/zero`, whose read never
//! ends, or a file that another program is writing. Each is an error here.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use crate::toml::show_size;

/// Maximum size in bytes of a text that people write: a description, a manifest, a board file, a `.system` file.
pub const MAX_TEXT: u64 = 16 << 20;

/// An error of reading a file. Its text does not name the file.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The operating system reports an error.
    #[error("{}", plain(.0))]
    Io(#[from] io::Error),
    /// The path is not a regular file, but this.
    #[error("it is {0}, not a regular file")]
    Kind(&'static str),
    /// The file is larger than allowed.
    #[error("it has {}; at most {} are allowed here", show_size(*.size), show_size(*.most))]
    TooLarge {
        /// Bytes that it has.
        size: u64,
        /// Bytes that it may have.
        most: u64,
    },
    /// Another program writes to it.
    #[error("it changed while it was read; wait until it is complete, then repeat the command")]
    Changed,
    /// It holds bytes that are not text.
    #[error("it is not text in UTF-8")]
    NotText,
}

/// Reads a regular file of at most `most` bytes. Links are followed.
///
/// # Errors
/// [`ReadError`].
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    // A device is not even opened: opening has side effects on some devices.
    regular(path)?;
    // The path may lead to something else by now; a FIFO without a writer is opened at once.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let file = File::from(file);
    let before = file.metadata()?;
    kind(&before)?;
    let size = before.len();
    if size > most {
        return Err(ReadError::TooLarge { size, most });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // One byte more than there should be shows that the file grows.
    (&file).take(size + 1).read_to_end(&mut bytes)?;
    let after = file.metadata()?;
    let same = bytes.len() as u64 == size && after.len() == size;
    if !same || before.modified().ok() != after.modified().ok() {
        return Err(ReadError::Changed);
    }
    Ok(bytes)
}

/// Reads a file as [`read`] does, for text in UTF-8.
///
/// # Errors
/// [`ReadError`].
pub fn read_text(path: &Path, most: u64) -> Result<String, ReadError> {
    String::from_utf8(read(path, most)?).map_err(|_| ReadError::NotText)
}

/// Returns the size of a regular file in bytes. Links are followed.
///
/// # Errors
/// [`ReadError::Io`], [`ReadError::Kind`].
pub fn regular(path: &Path) -> Result<u64, ReadError> {
    let data = std::fs::metadata(path)?;
    kind(&data)?;
    Ok(data.len())
}

fn kind(data: &std::fs::Metadata) -> Result<(), ReadError> {
    let file_type = data.file_type();
    let kind = match () {
        () if file_type.is_file() => return Ok(()),
        () if file_type.is_dir() => "a folder",
        () if file_type.is_fifo() => "a FIFO",
        () if file_type.is_socket() => "a socket",
        () => "a device",
    };
    Err(ReadError::Kind(kind))
}

/// Returns the operating system's message, without the number of the error.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    fn said(path: &Path, most: u64) -> String {
        read(path, most).unwrap_err().to_string()
    }

    #[test]
    fn reads_a_regular_file_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, b"12345").unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&link, 5).unwrap(), b"12345");
        assert_eq!(
            said(&file, 4),
            "it has 5 bytes; at most 4 bytes are allowed here"
        );
        fs::write(&file, [0xff]).unwrap();
        assert!(matches!(read_text(&file, 5), Err(ReadError::NotText)));
    }

    #[test]
    fn refuses_a_file_larger_than_memory_before_it_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sparse");
        File::create(&file).unwrap().set_len(1 << 42).unwrap();
        assert_eq!(
            said(&file, 64 << 20),
            "it has 4096 GiB; at most 64 MiB are allowed here"
        );
    }

    #[test]
    fn refuses_what_is_no_regular_file_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, socket) = (folder.path().join("fifo"), folder.path().join("socket"));
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, what) in [
            (fifo.as_path(), "a FIFO"),
            (&socket, "a socket"),
            (folder.path(), "a folder"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            assert_eq!(said(path, 9), format!("it is {what}, not a regular file"));
        }
        let nowhere = folder.path().join("nowhere");
        assert_eq!(said(&nowhere, 9), "No such file or directory");
    }

    #[test]
    fn refuses_a_file_of_which_the_system_gives_another_size() {
        // Files of procfs have size 0 but have contents, like a file that grows.
        assert!(matches!(
            read(Path::new("/proc/self/stat"), 4096),
            Err(ReadError::Changed)
        ));
    }
}
