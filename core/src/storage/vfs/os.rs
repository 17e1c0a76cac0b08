//! The operating system's files.
#![expect(
    unsafe_code,
    reason = "a log is mapped beyond its end, so that later appends can be read without another mapping"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{FallocateFlags, FlockOperation};

use super::{LockOutcome, Vfs, VfsFile};
use crate::storage::format::{LOG_LEN_MAX, checksum};
use crate::storage::live::Words;
use crate::storage::mapped::region::Region;

/// A number that identifies the boot of this machine: shared memory of an earlier boot is worth nothing. Containers on
/// one machine get the same number.
pub(crate) fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        // Without this file, as outside Linux, only the lock shows whether an owner is there.
        checksum(&fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default())
    })
}

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

    fn open_words(&self, path: &Path, len: usize) -> io::Result<Words> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)?;
        words(file, len)
    }

    fn create_words(&self, path: &Path, len: usize) -> io::Result<Words> {
        match self.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
        words(file, len).inspect_err(|_| drop(self.remove(path)))
    }

    fn map_words(&self, path: &Path) -> io::Result<Option<Words>> {
        match File::open(path) {
            Ok(file) if file.metadata()?.len() == 0 => Ok(None),
            Ok(file) => Words::map_foreign(&file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn map_log(&self, path: &Path) -> io::Result<(Region, usize)> {
        let file = File::open(path)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).min(LOG_LEN_MAX);
        // SAFETY: logs never shrink, and their readers go no further than `len` or the length that the owner published.
        let region = unsafe { Region::map_beyond(&file, LOG_LEN_MAX) }?;
        Ok((region, len))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
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

/// Maps a file of words that this process writes.
fn words(file: File, len: usize) -> io::Result<Words> {
    // A store into a page without space on disk would raise a signal.
    let (file, bytes) = (OsFile { file }, 8 * len);
    file.allocate(bytes as u64)?;
    let found = usize::try_from(file.file.metadata()?.len()).unwrap_or(usize::MAX);
    if found < bytes {
        file.write_all_at(&vec![0; bytes - found], found as u64)?;
    }
    Words::map_owned(&file.file)
}

/// Unlocks when dropped. Closing the file would not do: a child that another thread is just forking keeps the
/// descriptor open until its exec. In a forked child, dropping leaves the lock to the parent.
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
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            // The file system cannot preallocate: later writes find out whether there is space.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => Ok(result?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
