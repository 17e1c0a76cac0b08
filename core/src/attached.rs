//! Attached: another process owns the directory; this one maps its files read-only and follows its commits.

use std::path::Path;
use std::sync::Arc;

use crate::api::backend::{Backend, Reader, Statement};
use crate::api::batches::Batches;
use crate::api::cache::{OwnerSeen, Status, Way};
use crate::api::definition::TableDefinition;
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::key::Key;
use crate::api::options::CacheOptions;
use crate::api::row::Row;
use crate::api::table::TableInfo;
use crate::api::value::Value;
use crate::api::version::Version;
use crate::local::{self, Local};
use crate::source::Input;
use crate::storage::{Files, Follower};

/// A directory of another process.
#[derive(Debug)]
pub(crate) struct Attached {
    files: Files,
    damage: Option<String>,
    local: Arc<Local<Follower>>,
}

impl Attached {
    pub(crate) fn open(dir: &Path, options: CacheOptions) -> Result<Self> {
        let files = Files::below(dir)?;
        let (follower, damage) = Follower::open(files.clone())?;
        Ok(Self { files, damage, local: Arc::new(Local::new(follower, options)?) })
    }

    fn read_only(&self) -> Error {
        Error::new(
            ErrorCode::ReadOnly,
            format!("{} was opened read-only; write through its owner", self.files.dir.display()),
        )
    }
}

impl Reader for Attached {
    fn version(&self) -> Result<Version> {
        self.local.version()
    }

    fn tables(&self) -> Result<Vec<TableInfo>> {
        self.local.tables()
    }

    fn table(&self, name: &str) -> Result<TableInfo> {
        self.local.table(name)
    }

    fn table_by_id(&self, table: u64) -> Result<TableInfo> {
        self.local.table_by_id(table)
    }

    #[inline]
    fn get(&self, table: u64, key: &dyn Key) -> Result<Option<Row>> {
        self.local.get(table, key)
    }

    fn get_many(&self, table: u64, keys: &mut dyn Iterator<Item = &dyn Key>) -> Result<Vec<Option<Row>>> {
        self.local.get_many(table, keys)
    }

    fn scan(&self, table: u64, columns: Option<&[String]>) -> Result<Batches> {
        self.local.scan(table, columns)
    }

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.local.sql(text, parameters)
    }
}

impl Backend for Attached {
    fn way(&self) -> Way {
        Way::Attached
    }

    fn pin(&self) -> Result<Arc<dyn Reader>> {
        self.local.pin()
    }

    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        self.local.clone().prepare(text)
    }

    fn define_table(&self, _: &str, _: TableDefinition) -> Result<TableInfo> {
        Err(self.read_only())
    }

    fn drop_table(&self, _: &str) -> Result<Version> {
        Err(self.read_only())
    }

    fn append(&self, _: u64, _: Input) -> Result<Version> {
        Err(self.read_only())
    }

    fn replace(&self, _: u64, _: Input) -> Result<Version> {
        Err(self.read_only())
    }

    fn sync(&self) -> Result<()> {
        Err(self.read_only())
    }

    fn status(&self) -> Result<Status> {
        let follower = self.local.source();
        // What can be told of a cache must be told even if its newest state cannot be read.
        if let Err(error) = follower.newest() {
            tracing::warn!(%error, "the newest commits of the cache cannot be followed");
        }
        let state = follower.last();
        Ok(Status {
            way: Way::Attached,
            dir: self.files.dir.clone(),
            version: state.version,
            tables: local::tables(&state),
            damage: self.damage.clone(),
            owner: follower.owner_seen().map(|(at, closed)| OwnerSeen { at, closed }),
        })
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}
