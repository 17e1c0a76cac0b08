//! Errors: what a caller branches on, what a person reads, what a remote peer is sent.

use std::collections::HashSet;
use std::error::Error as _;

use arrow::array::RecordBatchIterator;
use arrow::error::ArrowError;
use pillion::{ErrorCode, ErrorKind, Input, TableDefinition, Value};

use crate::model::{assert_names, numbered, numbered_schema, refused, vals};
use crate::{Outcome, Session};

/// Every code with its number and kind. Numbers are part of the wire protocol: lines are added, never changed.
const CODES: [(ErrorCode, u16, ErrorKind); 31] = [
    (ErrorCode::InvalidArgument, 100, ErrorKind::Request),
    (ErrorCode::TableNotFound, 101, ErrorKind::Request),
    (ErrorCode::ColumnNotFound, 102, ErrorKind::Request),
    (ErrorCode::TableExists, 103, ErrorKind::Request),
    (ErrorCode::NoPrimaryKey, 104, ErrorKind::Request),
    (ErrorCode::InvalidKey, 105, ErrorKind::Request),
    (ErrorCode::DuplicateKey, 106, ErrorKind::Request),
    (ErrorCode::NullKey, 107, ErrorKind::Request),
    (ErrorCode::SchemaMismatch, 108, ErrorKind::Request),
    (ErrorCode::UnsupportedType, 109, ErrorKind::Request),
    (ErrorCode::InvalidSql, 110, ErrorKind::Request),
    (ErrorCode::InvalidParameter, 111, ErrorKind::Request),
    (ErrorCode::ReadOnly, 112, ErrorKind::Request),
    (ErrorCode::Unsupported, 113, ErrorKind::Request),
    (ErrorCode::TypeMismatch, 114, ErrorKind::Request),
    (ErrorCode::Execution, 115, ErrorKind::Request),
    (ErrorCode::SourceNotFound, 200, ErrorKind::Source),
    (ErrorCode::SourceInvalid, 201, ErrorKind::Source),
    (ErrorCode::DirectoryLocked, 300, ErrorKind::Retry),
    (ErrorCode::NewerFormat, 301, ErrorKind::Request),
    (ErrorCode::NotACache, 302, ErrorKind::Request),
    (ErrorCode::UnsupportedFileSystem, 303, ErrorKind::Request),
    (ErrorCode::DiskFull, 400, ErrorKind::Retry),
    (ErrorCode::MemoryLimit, 401, ErrorKind::Retry),
    (ErrorCode::WentBack, 402, ErrorKind::Retry),
    (ErrorCode::Corrupt, 500, ErrorKind::Report),
    (ErrorCode::Io, 501, ErrorKind::Report),
    (ErrorCode::Poisoned, 502, ErrorKind::Reopen),
    (ErrorCode::Closed, 503, ErrorKind::Reopen),
    (ErrorCode::OutcomeUnknown, 504, ErrorKind::OutcomeUnknown),
    (ErrorCode::Internal, 600, ErrorKind::Report),
];

/// The numbers and kinds of codes have not changed.
pub fn codes_keep_their_numbers(_: &mut Session<'_>) -> Outcome {
    for (code, number, kind) in CODES {
        assert_eq!((code.number(), code.kind()), (number, kind), "{code:?}");
        assert!(ErrorCode::ALL.contains(&code), "{code:?}");
    }
    Ok(())
}

/// Every code has a number of its own and comes back from it; no other number is a code.
pub fn numbers_name_one_code_each(_: &mut Session<'_>) -> Outcome {
    let numbers: HashSet<u16> = ErrorCode::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(numbers.len(), ErrorCode::ALL.len());
    assert!(ErrorCode::ALL.is_sorted_by_key(|code| code.number()));
    for number in 0..=u16::MAX {
        let code = ErrorCode::from_number(number);
        assert_eq!(code.is_some(), numbers.contains(&number), "{number}");
        assert!(code.is_none_or(|code| code.number() == number));
    }
    Ok(())
}

/// An error has the kind of its code, a message, and on request its causes.
pub fn an_error_carries_its_causes(session: &mut Session<'_>) -> Outcome {
    let line = "the line is down";
    let batches: Vec<Result<_, _>> = vec![Err(ArrowError::ComputeError(line.to_owned()))];
    let input = Input::reader(RecordBatchIterator::new(batches, numbered_schema()));
    let error = refused(session.define("t", TableDefinition::new(input)), ErrorCode::SourceInvalid);
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(!error.message().contains(line), "{error}");
    assert_eq!(error.to_string(), error.message());
    assert!(format!("{error:#}").contains(line));
    assert!(format!("{error:?}").contains("201"), "{error:?}");
    assert!(error.source().is_some_and(|cause| cause.to_string().contains(line)));
    Ok(())
}

/// The errors of requests: each has the code that its call documents, and the kind that says "change the request".
pub fn requests_have_their_codes(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([1]))?;
    let plain = session.define("plain", TableDefinition::new(numbered([1])))?;
    let row = table.get(1)?.expect("it is there");
    let errors = [
        refused(
            session.writer().define_table("", TableDefinition::new(numbered([1]))),
            ErrorCode::InvalidArgument,
        ),
        refused(session.cache().table("u"), ErrorCode::TableNotFound),
        refused(row.value("u"), ErrorCode::ColumnNotFound),
        refused(session.define_keyed("t", "name", numbered([1])), ErrorCode::TableExists),
        refused(plain.get(1), ErrorCode::NoPrimaryKey),
        refused(table.get("one"), ErrorCode::InvalidKey),
        refused(session.append("t", numbered([1])), ErrorCode::DuplicateKey),
        refused(session.append("t", numbered([2]).project(&[0])?), ErrorCode::SchemaMismatch),
        refused(row.get::<bool>("id"), ErrorCode::TypeMismatch),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Request, "{error:?}");
        assert!(!error.message().is_empty());
    }
    Ok(())
}

/// The errors of queries: planning errors come from the call, execution errors with the batches.
pub fn queries_have_their_codes(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let cache = session.cache();
    let planned = [
        ("SELEKT 1", ErrorCode::InvalidSql),
        ("SELECT", ErrorCode::InvalidSql),
        ("", ErrorCode::InvalidSql),
        ("SELECT id FROM t GROUP BY name", ErrorCode::InvalidSql),
        ("SELECT nothing(id) FROM t", ErrorCode::InvalidSql),
        ("SELECT id FROM t WHERE id", ErrorCode::InvalidSql),
        ("SELECT * FROM u", ErrorCode::TableNotFound),
        ("SELECT u FROM t", ErrorCode::ColumnNotFound),
        ("SELECT t.u FROM t", ErrorCode::ColumnNotFound),
        ("INSERT INTO t VALUES (11, 'x')", ErrorCode::Unsupported),
    ];
    for (text, code) in planned {
        assert_eq!(refused(cache.sql(text, &[]), code).kind(), ErrorKind::Request, "{text}");
        refused(cache.prepare(text), code);
    }
    let running = [
        "SELECT 1 / (id - 5) FROM t",
        "SELECT CAST(name AS BIGINT) FROM t",
        "SELECT CAST(id + 300 AS TINYINT) FROM t",
        "SELECT sum(1 / (id - 5)) FROM t",
    ];
    for text in running {
        let error = refused(cache.sql(text, &[])?.collect_all(), ErrorCode::Execution);
        assert_eq!(error.kind(), ErrorKind::Request, "{text}");
    }
    Ok(())
}

/// A parameter that is wrong is named by its number.
pub fn parameters_have_their_code(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let cache = session.cache();
    let error =
        refused(cache.sql("SELECT * FROM t WHERE id = $1", &vals!["one"]), ErrorCode::InvalidParameter);
    assert_eq!(error.kind(), ErrorKind::Request);
    assert_names(&error, &["$1", "Int64"]);
    let none: [Value; 0] = [];
    refused(cache.sql("SELECT $1", &none), ErrorCode::InvalidParameter);
    Ok(())
}
