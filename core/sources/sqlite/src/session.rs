//! A connection to a file, for one call: one read transaction.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use pillion::{Error, ErrorCode, Result};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::authority::Seen;
use crate::failures;
use crate::mark;
use crate::opening::{connect, is_closed_log, refuse_log};
use crate::options::SqliteOptions;
use crate::stamps::{Stamps, unreadable};
use crate::worker::Watch;

/// Instructions of SQLite between two looks at the call: about a millisecond.
const PROGRESS: i32 = 20_000;
/// How long a lock is waited for before it is tried again, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Begins a read transaction, however much the file holds.
const FIRST_READ: &str = "SELECT count(*) FROM (SELECT 1 FROM main.sqlite_schema LIMIT 1)";

/// How the file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// A lock keeps writers from changing the file.
    Locked,
    /// Writers go on in a write-ahead log.
    Logged,
    /// Nobody has the file open, so no lock is taken and no file is created. Whether somebody came is seen afterwards.
    Unlocked,
}

/// A connection in a read transaction.
pub(crate) struct Session {
    connection: Connection,
    path: PathBuf,
    shown: String,
    access: Access,
    /// The file before the transaction began, and after.
    before: Stamps,
    begun: Stamps,
    mark: Vec<u8>,
    moment: SystemTime,
    seen: Seen,
}

impl Session {
    /// Opens a file and begins to read one state of it.
    ///
    /// # Errors
    /// Those of the call; [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceRefused`], [`ErrorCode::SourceInvalid`],
    /// [`ErrorCode::SourceUnavailable`].
    pub(crate) fn open(options: &SqliteOptions, watch: &Watch) -> Result<Self> {
        // SQLite looks for the other files beside the file itself, and not beside a link to it.
        let path = options.path.canonicalize().map_err(|error| unreadable(&options.path, error))?;
        let shown = path.display().to_string();
        // Before the file is looked at: without a lock, a commit after that may not be seen.
        let moment = SystemTime::now();
        let (before, is_settled) = Stamps::settled(&path, watch)?;
        let is_unlocked = if options.is_immutable {
            refuse_log(&shown, &before)?;
            true
        } else {
            is_closed_log(&path, &before)
        };
        let connection = connect(&path, if is_unlocked { "&immutable=1" } else { "" })
            .map_err(|error| failures::of_file(&shown, error))?;
        let mut session = Self {
            connection,
            path,
            shown,
            access: if is_unlocked { Access::Unlocked } else { Access::Locked },
            before,
            begun: before,
            mark: mark::never(),
            moment,
            seen: Seen::default(),
        };
        session.configure(watch).map_err(|error| failures::of_file(&session.shown, error))?;
        let published = if is_unlocked { Some((-1, -1)) } else { session.published(options, watch)? };
        if published.is_none_or(|(frames, _)| frames >= 0) {
            session.access = Access::Logged;
        }
        if let Some(published) = published.filter(|_| is_settled) {
            session.mark = mark::of(&session.before, published);
        }
        session.begin(options, watch)?;
        Ok(session)
    }

    fn configure(&mut self, watch: &Watch) -> rusqlite::Result<()> {
        let connection = &mut self.connection;
        connection.busy_timeout(Duration::ZERO)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // A mistyped name in quotation marks is an error, and not a text.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        watch.interrupts(connection.get_interrupt_handle());
        let watch = watch.clone();
        connection.progress_handler(PROGRESS, Some(move || watch.check().is_err()))
    }

    /// How many frames of the write-ahead log readers see, and how many of them are in the file too; -1 for a file without one.
    /// `None` if this process may not find out.
    fn published(&self, options: &SqliteOptions, watch: &Watch) -> Result<Option<(i64, i64)>> {
        let asked = self.patiently(options, watch, |connection| {
            let told = connection
                .query_row("PRAGMA main.wal_checkpoint(noop)", [], |row| Ok((row.get(1)?, row.get(2)?)));
            match told {
                Err(error) if failures::is_read_only(&error) => Ok(None),
                told => told.map(Some),
            }
        });
        asked.map_err(|error| self.unwritable(error))
    }

    fn begin(&mut self, options: &SqliteOptions, watch: &Watch) -> Result<()> {
        let begun = self.connection.execute_batch("BEGIN");
        begun.map_err(|error| failures::of_file(&self.shown, error))?;
        let mut moment = self.moment;
        self.patiently(options, watch, |connection| {
            moment = SystemTime::now();
            connection.query_row(FIRST_READ, [], |_| Ok(()))
        })?;
        if self.access != Access::Unlocked {
            self.moment = moment;
        }
        self.begun = Stamps::look(&self.path)?;
        self.check_whole()?;
        self.touch_virtual_tables();
        let seen = self.seen.clone();
        self.connection
            .authorizer(Some(move |context: rusqlite::hooks::AuthContext<'_>| seen.judge(&context)))
            .map_err(|error| failures::of_file(&self.shown, error))
    }

    /// Fails if the file is shorter than it says. SQLite takes what is missing of its last page for zeros.
    fn check_whole(&self) -> Result<()> {
        let ask = |pragma| self.connection.query_row(pragma, [], |row| row.get::<_, u32>(0)).map(u64::from);
        let len = ask("PRAGMA main.page_count").and_then(|pages| Ok(pages * ask("PRAGMA main.page_size")?));
        let len = len.map_err(|error| failures::of_file(&self.shown, error))?;
        // The last pages may be in the log alone.
        if self.access == Access::Logged || self.begun.database.len() >= len {
            return Ok(());
        }
        let message =
            format!("`{}` is truncated: it has {} of {len} bytes", self.shown, self.begun.database.len());
        Err(Error::new(ErrorCode::SourceInvalid, message))
    }

    /// Lets virtual tables prepare their statements, of which some write, before writing is refused. What fails is
    /// reported to whoever reads such a table.
    fn touch_virtual_tables(&self) {
        const NAMES: &str = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage = 0 AND sql LIKE 'CREATE VIRTUAL%'";
        let Ok(mut statement) = self.connection.prepare(NAMES) else { return };
        let Ok(names) = statement.query_map([], |row| row.get::<_, String>(0)) else { return };
        for name in names.flatten() {
            drop(self.connection.prepare(&format!("SELECT * FROM main.{}", crate::names::quoted(&name))));
        }
    }

    /// Tries until no other connection holds a lock, for a limited time.
    fn patiently<T>(
        &self,
        options: &SqliteOptions,
        watch: &Watch,
        mut attempt: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let (began, mut pause) = (Instant::now(), PAUSE_MIN);
        loop {
            match attempt(&self.connection) {
                Ok(result) => return Ok(result),
                Err(error) if !failures::is_busy(&error) => {
                    watch.check()?;
                    return Err(failures::of_file(&self.shown, error));
                }
                Err(_) => {}
            }
            watch.check()?;
            if began.elapsed() >= options.busy_timeout {
                let message = format!(
                    "`{}`: a writer has let nobody read for {:?}; with `PRAGMA journal_mode = WAL` it would not, \
                     and `busy_timeout` says how long it is waited for",
                    self.shown, options.busy_timeout
                );
                return Err(Error::new(ErrorCode::SourceUnavailable, message));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The error with what is known of a log that cannot be opened.
    fn unwritable(&self, error: Error) -> Error {
        match (&self.before.log, self.before.has_index) {
            (Some(log), false) if log.len() > 0 && error.code() == ErrorCode::SourceUnavailable => {
                error.context("there is a write-ahead log without its `-shm`")
            }
            _ => error,
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The path, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Equal to a later mark only if nothing changed since this state.
    pub(crate) fn mark(&self) -> &[u8] {
        &self.mark
    }

    /// The rows are not older than this.
    pub(crate) fn moment(&self) -> SystemTime {
        self.moment
    }

    /// What was seen of the statements of this session.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Whether texts in quotation marks may be texts where no column has such a name, as the views of some files have it.
    pub(crate) fn allow_quoted_texts(&self) -> Result<()> {
        let set = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, true);
        set.map(drop).map_err(|error| failures::of_file(&self.shown, error))
    }

    /// Fails if what was read may be of several states: nobody wrote where locks forbid it or where no lock was
    /// taken, and the file is still the one at its path.
    ///
    /// # Errors
    /// [`ErrorCode::SourceUnavailable`], and those of looking at the file.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let now = Stamps::look(&self.path)?.database;
        let is_unchanged = match self.access {
            Access::Unlocked => now.has_same_contents(&self.before.database),
            Access::Locked => now.has_same_contents(&self.begun.database),
            Access::Logged => now.is_same_file(&self.before.database),
        };
        if is_unchanged {
            return Ok(());
        }
        let message = format!("`{}` was replaced or overwritten while it was read", self.shown);
        Err(Error::new(ErrorCode::SourceUnavailable, message))
    }

    /// The error of reading: that of a changed file, if that may be the cause.
    pub(crate) fn explained(&self, error: Error) -> Error {
        if failures::is_of_contents(&error) { self.check_unchanged().err().unwrap_or(error) } else { error }
    }
}
