//! A machine's memory, readable from outside.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::io::Errno;

/// Bytes that are read at once.
const PIECE: u64 = 1 << 20;

/// A machine's memory (`Launch::memory_file`): a file without a name (memfd_create(2)), so that nothing of it is ever
/// on a disk. Clones are the same memory.
#[derive(Clone, Debug)]
pub struct MemoryFile(Arc<File>);

impl MemoryFile {
    /// Memory of so many MiB, for one machine.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(mebibytes: u32) -> io::Result<Self> {
        let file = File::from(memfd_create("memory", MemfdFlags::CLOEXEC)?);
        file.set_len(u64::from(mebibytes) << 20)?;
        Ok(Self(Arc::new(file)))
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// The operating system's.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Hands out all that was ever used, piece by piece, each with its distance from the beginning; what lies between is
    /// zero. A piece is a whole number of pages long. A machine that runs may change it meanwhile.
    ///
    /// # Errors
    /// The operating system's.
    pub fn read(&self, mut take: impl FnMut(u64, &[u8])) -> io::Result<()> {
        let mut piece = vec![0; PIECE as usize];
        let mut at = 0;
        loop {
            at = match seek(&*self.0, SeekFrom::Data(at)) {
                Ok(data) => data,
                // Nothing follows.
                Err(Errno::NXIO) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let hole = seek(&*self.0, SeekFrom::Hole(at))?;
            while at < hole {
                let piece = &mut piece[..(hole - at).min(PIECE) as usize];
                self.0.read_exact_at(piece, at)?;
                take(at, piece);
                at += piece.len() as u64;
            }
        }
    }

    /// For QEMU to inherit.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_read_and_no_more() {
        let memory = MemoryFile::new(2048).unwrap();
        assert_eq!(memory.size().unwrap(), 2 << 30);
        let written = [(0, 0x51), ((1 << 30) + 4095, 0x52), ((2 << 30) - 1, 0x53)];
        for (offset, byte) in written {
            memory.0.write_all_at(&[byte], offset).unwrap();
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        let take = |start: u64, piece: &[u8]| {
            assert_eq!((start % 4096, piece.len() % 4096), (0, 0));
            bytes += piece.len();
            let used = (start..).zip(piece).filter(|(_, byte)| **byte != 0);
            found.extend(used.map(|(offset, byte)| (offset, *byte)));
        };
        memory.read(take).unwrap();
        assert_eq!(found, written);
        // A page may be a big one.
        assert!(bytes <= 3 << 21, "{bytes}");
    }
}
