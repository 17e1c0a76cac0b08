//! Settings of a cache, each with what it gives and what it costs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::{Error, ErrorCode, Result};
use super::recorder::{Recorder, Recording};

/// When a commit survives a crash of the machine.
///
/// The death of the process loses nothing in any setting: the log is written before a commit is visible. Whatever is
/// lost, a commit survives whole or not at all, with its rows in all tables and its
/// [source positions](crate::Transaction::source_position), and only with all commits before it. Readers that saw a
/// lost commit get one error ([`WentBack`](ErrorCode::WentBack)). The version's incarnation changes after every crash.
///
/// | | killed process | crash of the machine | failed write or sync |
/// | --- | --- | --- | --- |
/// | `Interval` | nothing is lost | the commits of about the last interval | as a crash |
/// | `Always` | nothing is lost | nothing that was acknowledged | the commit that was being made is in doubt |
/// | `Never` | nothing is lost | the commits since the last sync | as a crash |
///
/// After a failed write or sync of the log the cache takes no more writes ([`Poisoned`](ErrorCode::Poisoned)). Reads go
/// on; to write, open the cache again. A full disk is not such a failure: space is reserved first, and the commit is
/// refused ([`DiskFull`](ErrorCode::DiskFull)). [`Cache::sync`](crate::Cache::sync) makes everything so far durable in
/// every setting. `docs/durability.md` has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The log is synced in the background at this interval: a crash of the machine loses the commits since the last
    /// complete sync, which is about one interval ago. Commits do not wait for the disk.
    Interval(Duration),
    /// A commit is visible only after it is on disk: a crash of the machine loses nothing that was acknowledged or
    /// seen. Each commit costs a sync.
    Always,
    /// The log is synced when its rows are moved into segments, by [`Cache::sync`](crate::Cache::sync) and
    /// [`Cache::compact`](crate::Cache::compact), and when the cache is closed: a crash of the machine loses the
    /// commits since then that the operating system had not written by itself. For data that is loaded once, or would
    /// be loaded again in any case.
    Never,
}

/// Settings of an embedded cache.
///
/// ```no_run
/// use pillion::{CacheOptions, Durability};
///
/// let cache = CacheOptions::new().durability(Durability::Always).query_memory(256 << 20).open("cache")?;
/// # Ok::<(), pillion::Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct CacheOptions {
    pub(crate) durability: Durability,
    pub(crate) load_memory: usize,
    pub(crate) query_memory: usize,
    pub(crate) query_threads: usize,
    pub(crate) result_cache: usize,
    pub(crate) spill_dir: Option<PathBuf>,
    pub(crate) history: u64,
    pub(crate) disk_limit: u64,
    pub(crate) compaction_throughput: u64,
    pub(crate) refreshes_at_once: usize,
    pub(crate) recording: Recording,
}

impl CacheOptions {
    /// The defaults, which [`Cache::open`](crate::Cache::open) uses.
    pub fn new() -> Self {
        Self {
            durability: Durability::Interval(Duration::from_secs(1)),
            load_memory: 256 << 20,
            query_memory: 1 << 30,
            query_threads: std::thread::available_parallelism().map_or(1, Into::into),
            result_cache: 0,
            spill_dir: None,
            history: 0,
            disk_limit: u64::MAX,
            compaction_throughput: 64 << 20,
            refreshes_at_once: 4,
            recording: Recording::default(),
        }
    }

    /// When a commit survives a crash of the machine; 1 s unless told otherwise, because a cache can fetch the
    /// last second again.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Bytes in which one load sorts rows before it writes a run to disk: the rows and what sorting them takes; 256 MiB unless told
    /// otherwise. More means fewer runs to merge. What reads the source, and what writes segments, comes on top.
    #[must_use]
    pub fn load_memory(mut self, bytes: usize) -> Self {
        self.load_memory = bytes;
        self
    }

    /// Bytes that all running queries may use together for hash tables, sorts and the like; 1 GiB unless told
    /// otherwise. Sorts, joins and aggregations that reach it go to disk; operations that cannot do so fail with
    /// [`MemoryLimit`](ErrorCode::MemoryLimit). Mapped pages do not count.
    #[must_use]
    pub fn query_memory(mut self, bytes: usize) -> Self {
        self.query_memory = bytes;
        self
    }

    /// Threads that run queries, and the partitions of one query; all processors that this process may use unless
    /// told otherwise (a CPU quota of its cgroup counts).
    #[must_use]
    pub fn query_threads(mut self, threads: usize) -> Self {
        self.query_threads = threads;
        self
    }

    /// Bytes of answers that are kept; 0 unless told otherwise, and then none are. The same statement with the same parameters is
    /// then answered without planning and without work until a commit changes one of the tables that it reads: an answer is
    /// never older than the rows. Answers that are asked for often stay longest. An answer that is longer than a sixteenth of this is
    /// not kept, nor is one that depends on the time or on chance (`now()`, `random()`), on what is known of tables
    /// (`information_schema`, `EXPLAIN`), or on a working set. Kept answers are copies in memory beside `query_memory`.
    #[must_use]
    pub fn result_cache(mut self, bytes: usize) -> Self {
        self.result_cache = bytes;
        self
    }

    /// Bytes that are kept for [`Table::changes`](crate::Table::changes) beyond what recovery needs: of the log, and of
    /// files that the log names and the tables no longer need; 0 unless told otherwise. With 0, changes reach back over
    /// between one and two times the log that is kept for recovery.
    #[must_use]
    pub fn history(mut self, bytes: u64) -> Self {
        self.history = bytes;
        self
    }

    /// Bytes that the cache's files may take, including those that only recovery, readers or history still need; the
    /// whole disk unless told otherwise. Manifests are not counted, nor are the indexes of rows in the log, which every
    /// opening makes anew. A commit that adds rows beyond the limit is refused with [`DiskFull`](ErrorCode::DiskFull)
    /// and changes nothing; deletes, `truncate` and `drop_table` are not refused. A large load may exceed the limit
    /// with its temporary files, and replacing a table needs room for its old and its new rows. Large commits to
    /// several tables at the same time do not take each other into account.
    #[must_use]
    pub fn disk_limit(mut self, bytes: u64) -> Self {
        self.disk_limit = bytes;
        self
    }

    /// Bytes of segments a second that the thread for moving rows in the background may write; 64 MiB unless told
    /// otherwise. This one thread reads about as many, mostly from memory. Less leaves more of the disk and of a
    /// processor to others while rows are moved; more moves rows sooner, after which reads are a little faster. The
    /// limit does not hold while somebody waits for moves: [`Cache::compact`](crate::Cache::compact) and closing the
    /// cache. Nor does it hold for commits that come faster than it, once half of the log is full.
    #[must_use]
    pub fn compaction_throughput(mut self, bytes_per_second: u64) -> Self {
        self.compaction_throughput = bytes_per_second;
        self
    }

    /// Tables that are [refreshed](crate::TableDefinition::from_source) from their sources at a time; 4 unless told otherwise. At most half
    /// of them are of one source, and at most half of sources that take longer than 30 seconds for a refresh, so that others find a place.
    /// More lets more tables be loaded at a time, and each takes as much memory as a load (`load_memory`).
    #[must_use]
    pub fn refreshes_at_once(mut self, refreshes: usize) -> Self {
        self.refreshes_at_once = refreshes;
        self
    }

    /// Where queries that outgrow their memory put temporary files; the system's temporary folder unless told
    /// otherwise.
    #[must_use]
    pub fn spill_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spill_dir = Some(dir.into());
        self
    }

    /// Who counts and times what the cache does; nobody unless told otherwise, and then nothing is timed. With a recorder,
    /// a lookup takes two readings of the clock longer.
    #[must_use]
    pub fn recorder(mut self, recorder: Arc<dyn Recorder>) -> Self {
        self.recording = Recording::by(recorder);
        self
    }

    /// Whether the settings make sense.
    pub(crate) fn check(&self) -> Result<()> {
        let settings = [
            ("load_memory", self.load_memory),
            ("query_memory", self.query_memory),
            ("query_threads", self.query_threads),
            ("refreshes_at_once", self.refreshes_at_once),
            ("compaction_throughput", usize::try_from(self.compaction_throughput).unwrap_or(usize::MAX)),
        ];
        if self.durability == Durability::Interval(Duration::ZERO) {
            let message = "an interval of zero never ends syncing; use Durability::Always";
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        match settings.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => {
                Err(Error::new(ErrorCode::InvalidArgument, format!("{name} must be at least 1")))
            }
            None => Ok(()),
        }
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self::new()
    }
}
