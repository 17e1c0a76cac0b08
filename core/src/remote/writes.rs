//! Rows that are sent to the sidecar batch by batch.

use arrow::datatypes::SchemaRef;
use serde::de::DeserializeOwned;

use super::connection::{Connection, Repeat};
use crate::api::error::Result;
use crate::protocol::{self, Begin, Call, Empty, Next, Write, WriteKind};
use crate::source::Input;
use crate::storage::row_len;

/// Rows are sent in portions of about this many bytes.
const PORTION_LEN: usize = 4 << 20;

/// Sends the rows of `input` and waits for their commit. `table` is the schema of the table that they go to, if there is
/// one already.
pub(super) fn upload<T: DeserializeOwned>(
    connection: &Connection,
    kind: WriteKind,
    input: Input,
    table: Option<&SchemaRef>,
) -> Result<T> {
    connection.check_open()?;
    let _permit = connection.permit_upload()?;
    let input = input.open(table)?;
    let begin = Begin { kind, schema: protocol::encode_schema(&input.schema)? };
    let (Next { id }, link) = connection.call_on(Call::Begin, &begin, Repeat::Once)?;
    let sent = input.batches.map(|batch| {
        let batch = batch?;
        let rows = (PORTION_LEN / row_len(&batch)).max(1);
        for start in (0..batch.num_rows()).step_by(rows) {
            let portion = batch.slice(start, rows.min(batch.num_rows() - start));
            let write = Write { id, rows: protocol::encode_batch(&portion)? };
            let Empty {} = connection.call_held(&link, Call::Write, &write, Repeat::Once)?;
        }
        Ok(())
    });
    match sent.collect::<Result<()>>() {
        Ok(()) => connection.call_held(&link, Call::Finish, &Next { id }, Repeat::Never),
        Err(error) => {
            // The sidecar must not wait for rows that will not come.
            connection.tell(&link, Call::Abandon, &Next { id });
            Err(error)
        }
    }
}
