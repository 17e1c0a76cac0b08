//! The operating system's files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation};

use super::{LockOutcome, Vfs, VfsFile};
use crate::storage::live::{HEAD_LEN, HeadReader, HeadWriter};
use crate::storage::region::Region;

/// Mode of new files: the owner writes, its group may read (attached readers of another uid).
const FILE_MODE: u32 = 0o640;
/// Mode of new directories.
const DIR_MODE: u32 = 0o750;

/// The operating system's files.
#[derive(Debug)]
pub(crate) struct OsVfs;

impl Vfs for OsVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Box::new(OsFile { file }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(OsFile { file: OpenOptions::new().write(true).open(path)? }))
    }

    fn open_head(&self, path: &Path) -> io::Result<HeadWriter> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)?;
        // A store into a page without space on disk would be a signal.
        let mut file = OsFile { file };
        file.allocate(HEAD_LEN as u64)?;
        if file.file.metadata()?.len() < HEAD_LEN as u64 {
            file.write_all_at(&[0; HEAD_LEN], 0)?;
        }
        HeadWriter::map(&file.file)
    }

    fn read_head(&self, path: &Path) -> io::Result<Option<HeadReader>> {
        match File::open(path) {
            Ok(file) => HeadReader::map(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn map(&self, path: &Path) -> io::Result<Region> {
        Region::map(&File::open(path)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                file.set_len(0)?;
                file.write_all_at(std::process::id().to_string().as_bytes(), 0)?;
                Ok(LockOutcome::Taken(Box::new(Lock { file, process: std::process::id() })))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut owner = String::new();
                file.read_to_string(&mut owner)?;
                Ok(LockOutcome::Held(owner.trim().parse().ok()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn unsupported_file_system(&self, dir: &Path) -> io::Result<Option<&'static str>> {
        // Numbers from linux/magic.h and the SMB client's headers.
        #[cfg(target_os = "linux")]
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "magic numbers have 32 bits"
        )]
        return Ok(match rustix::fs::statfs(dir)?.f_type as u32 {
            0x6969 => Some("NFS"),
            0x517B => Some("SMB"),
            0xFE53_4D42 => Some("SMB2"),
            0xFF53_4D42 => Some("CIFS"),
            0x00C3_6400 => Some("Ceph"),
            0x0102_1997 => Some("9P"),
            0x5346_414F => Some("AFS"),
            _ => None,
        });
        #[cfg(not(target_os = "linux"))]
        {
            let _ = dir;
            Ok(None)
        }
    }
}

/// Unlocks when dropped: a child that another thread is just forking holds the descriptor open until its exec.
/// A forked child leaves it to its parent.
struct Lock {
    file: File,
    process: u32,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            return;
        }
        if let Err(error) = rustix::fs::flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "a cache directory cannot be unlocked");
        }
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
}

impl VfsFile for OsFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            // A file system without preallocation: writing finds out whether there is space.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => Ok(result?),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
