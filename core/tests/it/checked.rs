//! Definitions that are compared with their source before anything is loaded.

use std::time::Duration;

use pillion::source::{Call, TableSource};
use pillion::{ErrorCode, TableDefinition};

use crate::support::numbered;
use crate::support::scripted_source::{Mood, ROWS, Scripted, by_call, keyed};

#[test]
fn a_definition_is_compared_with_what_its_source_has() {
    let source = Scripted::new(&ROWS);
    let check = |definition: TableDefinition| definition.check_source("orders", &source, &Call::new());
    let fetched = check(keyed(by_call().columns(["name", "id"]))).unwrap();
    let names: Vec<&str> = fetched.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!((names, fetched.expected_rows()), (vec!["name", "id"], Some(4)));
    check(keyed(by_call().append_by("changed", Duration::ZERO)).retain("changed", Duration::from_secs(60)))
        .unwrap();

    let code = |definition: TableDefinition| check(definition).unwrap_err().code();
    let of = |source: TableSource| code(keyed(source));
    assert_eq!(of(by_call().columns(["name"])), ErrorCode::ColumnNotFound, "the key is not fetched");
    assert_eq!(of(by_call().columns(["id", "nmae"])), ErrorCode::ColumnNotFound);
    assert_eq!(of(by_call().append_by("name", Duration::ZERO)), ErrorCode::UnsupportedType);
    assert_eq!(of(by_call().append_by_number("changed", 7)), ErrorCode::InvalidArgument);
    assert_eq!(of(by_call().condition("id > 1")), ErrorCode::Unsupported);
    assert_eq!(of(by_call().columns(["id", "name", "id"])), ErrorCode::InvalidArgument);
    assert_eq!(of(by_call().columns::<String>([])), ErrorCode::InvalidArgument);
    let definition = || TableDefinition::from_source(by_call());
    assert_eq!(code(definition().primary_key(["nr"])), ErrorCode::ColumnNotFound);
    assert_eq!(code(definition().sort_by(["nr"])), ErrorCode::ColumnNotFound);
    assert_eq!(code(definition().retain("name", Duration::from_secs(60))), ErrorCode::UnsupportedType);
    assert_eq!(code(TableDefinition::new(numbered(0..1))), ErrorCode::InvalidArgument);
    // Nobody is asked for what is known anyway.
    let known = |definition: TableDefinition| definition.check_capabilities("orders", &source);
    known(keyed(by_call().columns(["nr"]))).unwrap();
    assert_eq!(known(keyed(by_call().condition("id > 1"))).unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(known(TableDefinition::new(numbered(0..1))).unwrap_err().code(), ErrorCode::InvalidArgument);
    source.set(Mood::Fails(ErrorCode::SourceNotFound));
    assert_eq!(of(by_call()), ErrorCode::SourceNotFound);
    assert_eq!(source.fetches(), 0, "no row is asked for");
}
