//! Attached: another process owns the directory; this one maps its files read-only and follows its commits. Writes, if it
//! came by the socket of a sidecar, are sent there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::change::ChangeRequest;
use super::definition::TableDefinition;
use super::executed::Executed;
use super::local::{self, Local};
use super::refreshing::Refreshing;
use super::status::{OwnerSeen, Status, Way};
use super::table_info::TableInfo;
#[cfg(feature = "sidecar")]
use super::through::ThroughSidecar;
use crate::answer::batches::Batches;
#[cfg(feature = "sidecar")]
use crate::storage::Maps;
use crate::storage::{Files, Follower};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::options::CacheOptions;
use crate::types::permitted::Permitted;
use crate::types::recorder::Recording;
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::{
    Backend, Reader, Served, Statement, Upkeep, Writer, delegate_reads, not_the_owner, refuse_permitted,
};

/// How long the files may take to show what the sidecar committed. The sidecar writes them before it answers.
const FOLLOW_TIME: Duration = Duration::from_secs(5);
/// How long to wait between two looks at the files.
const FOLLOW_PAUSE: Duration = Duration::from_millis(1);

/// A directory that another process owns.
#[derive(Debug)]
pub(crate) struct Attached {
    files: Files,
    damage: Option<String>,
    local: Arc<Local<Follower>>,
    #[cfg(feature = "sidecar")]
    writer: Option<Arc<dyn Backend>>,
}

impl Attached {
    pub(crate) fn open(dir: &Path, options: CacheOptions) -> Result<Self> {
        let files = Files::below(dir)?;
        let (follower, damage) = Follower::open(files.clone())?;
        let local = Arc::new(Local::new(follower, options)?);
        Ok(Self {
            files,
            damage,
            local,
            #[cfg(feature = "sidecar")]
            writer: None,
        })
    }

    /// The same, with a sidecar that makes the writes, and is asked for rows that are not held.
    #[cfg(feature = "sidecar")]
    pub(crate) fn with_writer(mut self, sidecar: Arc<dyn Backend>) -> Self {
        self.local.upstream().fill(Arc::new(ThroughSidecar::new(sidecar.clone())));
        self.writer = Some(sidecar);
        self
    }

    /// The sidecar that writes to this directory.
    ///
    /// # Errors
    /// [`ErrorCode::ReadOnly`] if there is none; [`ErrorCode::Closed`] if another directory is in its place now.
    fn writer(&self) -> Result<&dyn Backend> {
        let sidecar = self.sidecar()?;
        self.local.source().check_place()?;
        Ok(sidecar)
    }

    /// The sidecar at the other end of the socket.
    ///
    /// # Errors
    /// [`ErrorCode::ReadOnly`] if there is none.
    fn sidecar(&self) -> Result<&dyn Backend> {
        #[cfg(feature = "sidecar")]
        if let Some(writer) = &self.writer {
            return Ok(writer.as_ref());
        }
        Err(self.read_only())
    }

    /// Waits until this process reads a version that the sidecar committed for it.
    ///
    /// # Errors
    /// [`ErrorCode::OutcomeUnknown`] if the files do not show the version or cannot be read, though the sidecar
    /// reported it.
    fn follow(&self, written: Version) -> Result<Version> {
        let unknown = |what: &str| {
            let message =
                format!("version {written} was committed, and {what}; look before you repeat the call");
            Error::new(ErrorCode::OutcomeUnknown, message)
        };
        let deadline = Instant::now() + FOLLOW_TIME;
        let mut went_back = None;
        let followed = loop {
            match self.local.source().newest() {
                Ok(state) if state.includes(written) == Some(true) => break Ok(written),
                Err(error) if error.code() == ErrorCode::WentBack => went_back = Some(error),
                Err(error) => break Err(unknown("its files cannot be followed").with_source(error)),
                Ok(_) if Instant::now() >= deadline => break Err(unknown("its files do not show it")),
                Ok(_) => std::thread::sleep(FOLLOW_PAUSE),
            }
        };
        // The error concerns what was read before, and not this write: the next read gets it.
        if let Some(error) = went_back {
            self.local.source().tell_next(error);
        }
        followed
    }

    fn read_only(&self) -> Error {
        Error::new(
            ErrorCode::ReadOnly,
            format!("{} was opened read-only; write through its owner", self.files.dir.display()),
        )
    }
}

impl Reader for Attached {
    delegate_reads!(local);

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        // Without a query engine in this build, the sidecar runs the query.
        #[cfg(all(feature = "sidecar", not(feature = "sql")))]
        if let Some(writer) = &self.writer {
            return writer.sql(text, parameters);
        }
        self.local.sql(text, parameters)
    }
}

impl Writer for Attached {
    fn define_table(&self, name: &str, definition: TableDefinition) -> Result<TableInfo> {
        let info = self.writer()?.define_table(name, definition)?;
        self.follow(info.version)?;
        Ok(info)
    }

    fn drop_table(&self, name: &str) -> Result<Version> {
        self.follow(self.writer()?.drop_table(name)?)
    }

    fn write(&self, changes: Vec<ChangeRequest>, as_of: SystemTime) -> Result<Version> {
        self.follow(self.writer()?.write(changes, as_of)?)
    }

    fn execute(&self, text: &str, parameters: &[Value], permitted: Option<&Permitted>) -> Result<Executed> {
        refuse_permitted(permitted)?;
        let executed = self.writer()?.execute(text, parameters, None)?;
        self.follow(executed.version)?;
        Ok(executed)
    }
}

impl Upkeep for Attached {
    fn compact(&self) -> Result<()> {
        self.writer()?.compact()
    }

    fn sync(&self) -> Result<()> {
        self.writer()?.sync()
    }

    fn close(&self) -> Result<()> {
        match self.sidecar() {
            Ok(sidecar) => sidecar.close(),
            Err(_) => Ok(()),
        }
    }

    fn adjust(&self, _: &CacheOptions) -> Result<()> {
        Err(not_the_owner())
    }
}

#[cfg(feature = "sidecar")]
impl Served for Attached {
    fn maps(&self) -> Option<Arc<Maps>> {
        None
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.files.identity()
    }

    fn includes(&self, version: Version) -> Result<Option<bool>> {
        self.local.includes(version)
    }
}

#[cfg(not(feature = "sidecar"))]
impl Served for Attached {}

impl Backend for Attached {
    fn way(&self) -> Way {
        Way::Attached
    }

    fn messages_sent(&self) -> u64 {
        self.sidecar().map_or(0, |sidecar| sidecar.messages_sent())
    }

    fn pin(&self) -> Result<Arc<dyn Reader>> {
        self.local.pin()
    }

    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        #[cfg(all(feature = "sidecar", not(feature = "sql")))]
        if let Some(writer) = &self.writer {
            return writer.clone().prepare(text);
        }
        self.local.clone().prepare(text)
    }

    fn changes(&self, table: u64, since: Version) -> Result<Batches> {
        self.local.changes(&self.files, table, since)
    }

    fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        self.local.source_position(source)
    }

    fn recording(&self) -> &Recording {
        self.local.recording()
    }

    fn refreshing(&self) -> Option<&dyn Refreshing> {
        #[cfg(feature = "sidecar")]
        if let Some(writer) = &self.writer {
            return writer.refreshing();
        }
        None
    }

    fn status(&self) -> Result<Status> {
        let follower = self.local.source();
        // The status must be available even if the newest state of the cache cannot be read.
        if let Err(error) = follower.check_place().and_then(|()| follower.newest().map(drop)) {
            tracing::warn!(%error, "the newest commits of the cache cannot be followed");
            if error.code() == ErrorCode::WentBack {
                follower.tell_next(error);
            }
        }
        let state = follower.last();
        Ok(Status {
            way: Way::Attached,
            dir: self.files.dir.clone(),
            version: state.version,
            tables: local::tables(&state),
            damage: self.damage.clone(),
            poisoned: None,
            owner: follower.owner_seen().map(|(at, closed)| OwnerSeen { at, closed }),
        })
    }
}
