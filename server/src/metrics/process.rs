//! What the system knows of this process: memory, descriptors, processor time.

use std::fs;
use std::path::Path;

/// Clock ticks a second in `/proc`, the same on every architecture that Linux has.
const TICKS: f64 = 100.0;

/// What the system knows of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Memory that only this process has: it cannot be reclaimed.
    pub(super) anonymous: u64,
    /// Pages of files, which the system can drop and read again.
    pub(super) file: u64,
    /// Shared memory, such as that of answers to clients.
    pub(super) shared: u64,
    pub(super) virtual_memory: u64,
    pub(super) threads: u64,
    pub(super) open_files: u64,
    pub(super) open_files_max: u64,
    /// Seconds of processor time so far.
    pub(super) processor: f64,
}

impl Process {
    /// Looks at this process. What the system does not tell is 0.
    ///
    /// Reads the split of memory from `status`, which the kernel keeps counted. `smaps_rollup` gives the same figures by
    /// walking every page table, which takes milliseconds for gigabytes of mapped files.
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        let bytes = |name| number(name) * 1024;
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            anonymous: bytes("RssAnon"),
            file: bytes("RssFile"),
            shared: bytes("RssShmem"),
            virtual_memory: bytes("VmSize"),
            threads: number("Threads"),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            open_files_max: files.current.unwrap_or(u64::MAX),
            processor: processor().unwrap_or_default(),
        }
    }
}

/// Seconds of processor time of this process, in user mode and in the kernel.
fn processor() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// Bytes of the files of a cache, by what they are for, without those of tables.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Disk {
    pub(super) log: u64,
    pub(super) index: u64,
    pub(super) manifest: u64,
    /// Bytes that the file system has left for this user.
    pub(super) free: u64,
}

impl Disk {
    /// Looks at the directory of a cache.
    pub(super) fn of(dir: &Path) -> Self {
        let sum = |dir: &Path, prefix: &str| -> u64 {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            let wanted = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
            let files = wanted.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
            files.map(|file| file.len()).sum()
        };
        let free = rustix::fs::statvfs(dir).map_or(0, |found| found.f_bavail * found.f_frsize);
        Self {
            log: sum(&dir.join("log"), ""),
            index: sum(&dir.join("live"), ""),
            manifest: sum(dir, "manifest-"),
            free,
        }
    }
}
