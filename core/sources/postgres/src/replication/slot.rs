//! Replication slots: made, looked at, dropped.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pillion::{Error, ErrorCode, Result};

use super::command::{CommandFailure, Rows, literal};
use super::connection::Connection;
use super::publication::SlotName;
use crate::changes::Lsn;
use crate::options::PostgresOptions;

/// How long it may take to find out what a slot waits for.
const BLOCKERS_TIMEOUT: Duration = Duration::from_secs(3);

/// Values in one form whatever the settings of the user, and no limit that would end a session that has to wait.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
    SET bytea_output = 'hex'; SET extra_float_digits = 1; SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET wal_sender_timeout = '60s'";

/// Which server this is, and how far its log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct System {
    /// Differs between clusters, and is the same on a standby and its primary.
    pub(crate) identifier: u64,
    pub(crate) written: Lsn,
    pub(crate) database: String,
}

/// A slot that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreatedSlot {
    /// The slot has every transaction that commits after this, and the snapshot every one before.
    pub(crate) consistent: Lsn,
    /// A snapshot that other sessions can import until the connection does anything else.
    pub(crate) snapshot: String,
}

/// What the server says of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotStatus {
    pub(crate) plugin: Option<String>,
    pub(crate) database: Option<String>,
    /// The server has removed log that the slot needs.
    pub(crate) is_lost: bool,
    /// Up to where changes were acknowledged.
    pub(crate) confirmed: Option<Lsn>,
}

impl Connection {
    /// Sets what holds for all values that are streamed.
    pub(crate) async fn prepare(&mut self) -> Result<()> {
        self.query(SETTINGS).await.map(drop)
    }

    pub(crate) async fn system(&mut self) -> Result<System> {
        let rows = self.query("IDENTIFY_SYSTEM").await?;
        let system = match only(rows).as_deref() {
            Some([Some(identifier), Some(_timeline), Some(written), Some(database)]) => {
                let read = || {
                    Some(System {
                        identifier: identifier.parse().ok()?,
                        written: written.parse().ok()?,
                        database: database.clone(),
                    })
                };
                read()
            }
            _ => None,
        };
        system.ok_or_else(|| self.messages.invalid("the server does not say which one it is"))
    }

    /// Makes a slot, and exports a snapshot of the moment from which on it has changes. The server first waits for all transactions
    /// that run; it stops to if `limit` passes or the future is dropped, and then there is no slot.
    ///
    /// # Errors
    /// [`Timeout`](ErrorCode::Timeout) with what it waits for.
    pub(crate) async fn create_slot(
        &mut self,
        name: &SlotName,
        limit: Duration,
        options: &Arc<PostgresOptions>,
    ) -> Result<CreatedSlot> {
        self.make_slot(name, "", limit, options).await
    }

    /// As [`create_slot`](Self::create_slot), but the slot ends with the connection.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn create_temporary_slot(
        &mut self,
        name: &SlotName,
        limit: Duration,
        options: &Arc<PostgresOptions>,
    ) -> Result<CreatedSlot> {
        self.make_slot(name, "TEMPORARY ", limit, options).await
    }

    async fn make_slot(
        &mut self,
        name: &SlotName,
        kind: &str,
        limit: Duration,
        options: &Arc<PostgresOptions>,
    ) -> Result<CreatedSlot> {
        let (stop, process, place) = (self.stop_on_drop(), self.process, self.place().clone());
        let command =
            format!("CREATE_REPLICATION_SLOT {} {kind}LOGICAL pgoutput EXPORT_SNAPSHOT", name.as_str());
        let created = {
            let mut creating = pin!(self.messages.query(&command));
            match tokio::time::timeout(limit, &mut creating).await {
                Ok(created) => created,
                Err(_) => {
                    // While it waits, the server knows for what.
                    let waits =
                        tokio::time::timeout(BLOCKERS_TIMEOUT, blockers(options.clone(), process)).await;
                    let waits = waits.ok().and_then(Result::ok).unwrap_or_default();
                    return Err(Error::new(
                        ErrorCode::Timeout,
                        format!(
                            "{place}: the replication slot `{}` is not there after {limit:?}{waits}",
                            name.as_str()
                        ),
                    ));
                }
            }
        };
        stop.unneeded();
        let rows = created.map_err(|failure| not_created(failure, &place, name))?;
        match only(rows).as_deref() {
            Some([_, Some(consistent), Some(snapshot), _]) => consistent
                .parse()
                .map(|consistent| CreatedSlot { consistent, snapshot: snapshot.clone() })
                .map_err(|_| self.messages.invalid("the server does not say where a slot begins")),
            _ => Err(self.messages.invalid("the server does not say what slot it made")),
        }
    }

    /// What the server says of a slot; `None` if there is none.
    pub(crate) async fn slot(&mut self, name: &SlotName) -> Result<Option<SlotStatus>> {
        let query = format!(
            "SELECT plugin, database, wal_status, confirmed_flush_lsn \
             FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
            literal(name.as_str())
        );
        let rows = self.query(&query).await?;
        let Some(row) = only(rows) else { return Ok(None) };
        let [plugin, database, wal_status, confirmed] = row.as_slice() else {
            return Err(self.messages.invalid("the server does not describe a slot"));
        };
        Ok(Some(SlotStatus {
            plugin: plugin.clone(),
            database: database.clone(),
            is_lost: wal_status.as_deref() == Some("lost"),
            confirmed: confirmed.as_ref().and_then(|lsn| lsn.parse().ok()),
        }))
    }

    /// Drops a slot. There is none afterwards, also if there was none before.
    ///
    /// # Errors
    /// [`SourceUnavailable`](ErrorCode::SourceUnavailable) while somebody streams from it.
    pub(crate) async fn drop_slot(&mut self, name: &SlotName) -> Result<()> {
        let dropped = self.messages.query(&format!("DROP_REPLICATION_SLOT {}", name.as_str())).await;
        match dropped {
            Err(CommandFailure::Refused(error)) if error.state == "42704" => Ok(()),
            Err(failure) => Err(failure.into_error(self.messages.place())),
            Ok(_) => Ok(()),
        }
    }

    /// Whether there is a publication.
    pub(super) async fn has_publication(&mut self, name: &str) -> Result<bool> {
        let query = format!("SELECT FROM pg_catalog.pg_publication WHERE pubname = {}", literal(name));
        self.query(&query).await.map(|rows| !rows.is_empty())
    }
}

fn only(rows: Rows) -> Option<Vec<Option<String>>> {
    let mut rows = rows.into_iter();
    rows.next().filter(|_| rows.next().is_none())
}

fn not_created(failure: CommandFailure, place: &str, name: &SlotName) -> Error {
    let hint = match &failure {
        CommandFailure::Refused(error) => match &*error.state {
            "55000" => "; a server streams changes only with `wal_level = logical`",
            "53400" => "; raise `max_replication_slots`, or drop slots that nobody uses",
            "42501" => "; a user makes slots if it has the attribute REPLICATION",
            _ => "",
        },
        CommandFailure::Lost(_) => "",
    };
    let error = failure.into_error(place);
    error.context(format!("the replication slot `{}` cannot be made{hint}", name.as_str()))
}

/// Which sessions a process of the server waits for, as the end of a sentence.
async fn blockers(options: Arc<PostgresOptions>, process: i32) -> Result<String> {
    let mut connection = Connection::open(options).await?;
    let query = format!(
        "SELECT pid, usename, application_name, xact_start FROM pg_catalog.pg_stat_activity \
         WHERE pid = ANY (pg_catalog.pg_blocking_pids({process})) ORDER BY xact_start LIMIT 3"
    );
    let rows = connection.query(&query).await?;
    let sessions = rows.iter().map(|row| {
        let mut values = row.iter().map(|value| value.as_deref().unwrap_or("?"));
        let mut next = || values.next().unwrap_or("?");
        format!("process {} of user {} ({}), in a transaction since {}", next(), next(), next(), next())
    });
    let sessions = sessions.collect::<Vec<_>>().join("; ");
    Ok(if sessions.is_empty() {
        String::new()
    } else {
        format!("; the server waits for the end of transactions that wrote before: {sessions}")
    })
}
