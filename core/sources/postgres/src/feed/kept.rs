//! What replication slots of Pillion cost the server.

use pillion::Result;
use pillion::source::{Call, Kept};

use crate::session::Session;
use crate::source::Postgres;

/// Slots of this database whose names Pillion makes, without those that end with their connection.
const SLOTS: &str = "SELECT s.slot_name::pg_catalog.text, a.usename::pg_catalog.text, \
    pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
        ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn)::pg_catalog.int8 \
    FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid \
    WHERE s.slot_name LIKE 'pillion\\_%' AND s.plugin = 'pgoutput' AND NOT s.temporary \
    AND s.database = pg_catalog.current_database() ORDER BY 1";

/// See [`Source::kept`](pillion::source::Source::kept).
pub(crate) fn kept(source: &Postgres, call: &Call) -> Result<Vec<Kept>> {
    let of_work = source.clone();
    source.runtime().run(call, async move {
        let session = Session::open(of_work.options().clone(), of_work.runtime().clone()).await?;
        let rows = session.client()?.query_typed(SLOTS, &[]).await.map_err(|error| session.failure(error));
        let read = |row: &tokio_postgres::Row| -> std::result::Result<_, tokio_postgres::Error> {
            let bytes: Option<i64> = row.try_get(2)?;
            let bytes = bytes.map(|bytes| u64::try_from(bytes).unwrap_or_default());
            Ok(Kept { name: row.try_get(0)?, bytes, user: row.try_get(1)? })
        };
        let kept = rows.and_then(|rows| {
            rows.iter()
                .map(|row| read(row).map_err(|error| session.failure(error)))
                .collect::<Result<Vec<_>>>()
        });
        session.done();
        kept
    })
}
