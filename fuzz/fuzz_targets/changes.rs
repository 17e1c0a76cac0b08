//! See `pillion_postgres::fuzzing::changes`. Another decoder, `pg_walstream`, reads what that one read, and must find the same.
#![no_main]

use pg_walstream::{LogicalReplicationMessage, LogicalReplicationParser, TupleData};

libfuzzer_sys::fuzz_target!(|session: &[u8]| {
    let mut other = LogicalReplicationParser::with_protocol_version(2);
    pillion_postgres::fuzzing::changes(session, |message, shown| {
        assert_eq!(by_other(&mut other, message).as_deref(), Ok(shown));
    });
});

fn by_other(parser: &mut LogicalReplicationParser, message: &[u8]) -> Result<String, String> {
    let parsed = parser.parse_wal_message(message).map_err(|error| error.to_string())?;
    let within = match &parsed.message {
        LogicalReplicationMessage::StreamStart { .. }
        | LogicalReplicationMessage::StreamStop
        | LogicalReplicationMessage::Origin { .. } => String::new(),
        _ => parsed.xid.map(|xid| format!("{xid}: ")).unwrap_or_default(),
    };
    Ok(format!("{within}{}", content(&parsed.message)))
}

fn content(message: &LogicalReplicationMessage) -> String {
    match message {
        LogicalReplicationMessage::Begin { final_lsn, timestamp, xid } => {
            format!("begin {xid} {} {timestamp}", lsn(*final_lsn))
        }
        LogicalReplicationMessage::Commit { commit_lsn, end_lsn, timestamp, .. } => {
            commit(*commit_lsn, *end_lsn, *timestamp)
        }
        LogicalReplicationMessage::Origin { origin_lsn, origin_name } => {
            format!("origin {} {origin_name:?}", lsn(*origin_lsn))
        }
        LogicalReplicationMessage::Relation {
            relation_id,
            namespace,
            relation_name,
            replica_identity,
            columns,
        } => {
            let namespace = if namespace.is_empty() { "pg_catalog" } else { namespace };
            let columns = columns.iter().map(|column| {
                let key = if column.is_key() { "*" } else { "" };
                format!("{key}{:?} {} {}", column.name, column.type_id, column.type_modifier)
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            let identity = char::from(*replica_identity);
            format!("table {relation_id} {namespace:?}.{relation_name:?} {identity} ({columns})")
        }
        LogicalReplicationMessage::Type { type_id, namespace, type_name } => {
            format!("type {type_id} {namespace:?}.{type_name:?}")
        }
        LogicalReplicationMessage::Insert { relation_id, tuple } => {
            format!("insert {relation_id} {}", row(tuple))
        }
        LogicalReplicationMessage::Update { relation_id, old_tuple, new_tuple, key_type } => {
            let old = old_tuple.as_ref().map(|old| format!("{}{} -> ", key_type.unwrap_or('?'), row(old)));
            format!("update {relation_id} {}{}", old.unwrap_or_default(), row(new_tuple))
        }
        LogicalReplicationMessage::Delete { relation_id, old_tuple, key_type } => {
            format!("delete {relation_id} {key_type}{}", row(old_tuple))
        }
        LogicalReplicationMessage::Truncate { relation_ids, flags } => {
            format!("truncate {relation_ids:?} {flags}")
        }
        LogicalReplicationMessage::Message { flags, lsn: at, prefix, content } => {
            format!("note {flags} {} {prefix:?} {}", lsn(*at), content.escape_ascii())
        }
        LogicalReplicationMessage::StreamStart { xid, first_segment } => {
            format!("start {xid} {first_segment}")
        }
        LogicalReplicationMessage::StreamStop => "stop".to_owned(),
        LogicalReplicationMessage::StreamCommit { xid, commit_lsn, end_lsn, timestamp, .. } => {
            format!("streamed {xid} {}", commit(*commit_lsn, *end_lsn, *timestamp))
        }
        LogicalReplicationMessage::StreamAbort { xid, subtransaction_xid, .. } => {
            format!("abort {xid} {subtransaction_xid}")
        }
        other => panic!("{other:?} belongs to protocol version 3"),
    }
}

fn row(tuple: &TupleData) -> String {
    let cells = tuple.columns.iter().map(|cell| match cell.data_type {
        b'n' => "null".to_owned(),
        b'u' => "unchanged".to_owned(),
        b't' => format!("'{}'", cell.as_bytes().escape_ascii()),
        _ => format!("b'{}'", cell.as_bytes().escape_ascii()),
    });
    format!("({})", cells.collect::<Vec<_>>().join(", "))
}

fn commit(at: u64, end: u64, time: i64) -> String {
    format!("commit {} {} {time}", lsn(at), lsn(end))
}

fn lsn(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff)
}
