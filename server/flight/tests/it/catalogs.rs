//! Catalogs, schemas, tables, keys, and facts about the server.

use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::{Schema, UInt32Type};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, SqlInfo,
};
use arrow_flight::{Empty, IpcMessage};
use futures::TryStreamExt;
use tonic::Code;

use crate::support::{Answer, Served, flights, items};

fn tables(include_schema: bool) -> CommandGetTables {
    CommandGetTables { include_schema, ..Default::default() }
}

#[test]
fn the_catalog_is_as_sql_names_it() {
    let served = Served::open();
    let mut client = served.client();
    assert_eq!(client.ask(&CommandGetCatalogs {}).unwrap().texts(0), ["pillion"]);
    let schemas = client.ask(&CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None }).unwrap();
    assert_eq!((schemas.texts(0), schemas.texts(1)), (vec!["pillion".to_owned()], vec!["public".to_owned()]));
    let none = CommandGetDbSchemas { catalog: Some("other".to_owned()), db_schema_filter_pattern: None };
    assert_eq!(client.ask(&none).unwrap().rows().num_rows(), 0);
    assert_eq!(client.ask(&CommandGetTableTypes {}).unwrap().texts(0), ["TABLE"]);
    let of_sql = client.sql(
        "SELECT table_catalog, table_schema, table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 3",
    );
    let (of_sql, listed) = (of_sql.unwrap(), client.ask(&tables(false)).unwrap());
    for column in 0..3 {
        assert_eq!(of_sql.texts(column), listed.texts(column));
    }
}

#[test]
fn tables_are_listed_by_patterns_and_types_with_and_without_their_columns() {
    let served = Served::open();
    let mut client = served.client();
    let mut names = |command: CommandGetTables| client.ask(&command).unwrap().texts(2).join(",");
    assert_eq!(names(tables(false)), "flights,items");
    let like = |pattern: &str| CommandGetTables {
        table_name_filter_pattern: Some(pattern.to_owned()),
        ..Default::default()
    };
    for (pattern, expected) in [
        ("items", "items"),
        ("%", "flights,items"),
        ("_tems", "items"),
        ("i%", "items"),
        ("x%", ""),
        ("", ""),
    ] {
        assert_eq!(names(like(pattern)), expected, "{pattern}");
    }
    let of_type = |of: &str| CommandGetTables { table_types: vec![of.to_owned()], ..Default::default() };
    assert_eq!(
        (names(of_type("TABLE")), names(of_type("VIEW"))),
        ("flights,items".to_owned(), String::new())
    );
    let of_schema =
        |of: &str| CommandGetTables { db_schema_filter_pattern: Some(of.to_owned()), ..Default::default() };
    assert_eq!(
        (names(of_schema("pub%")), names(of_schema("other"))),
        ("flights,items".to_owned(), String::new())
    );
    let of_catalog = CommandGetTables { catalog: Some("other".to_owned()), ..Default::default() };
    assert_eq!(names(of_catalog), "");
    let answer = client.ask(&tables(true)).unwrap();
    assert!(answer.header("pillion-version").is_some());
    let rows = answer.rows();
    let schemas = rows.column(4).as_binary::<i32>();
    let decoded =
        |row: usize| -> Schema { IpcMessage(schemas.value(row).to_vec().into()).try_into().unwrap() };
    assert_eq!(
        (decoded(0), decoded(1)),
        (flights().schema().as_ref().clone(), items().schema().as_ref().clone())
    );
}

#[test]
fn keys_are_those_of_the_table() {
    let served = Served::open();
    let mut client = served.client();
    let of = |table: &str| CommandGetPrimaryKeys { catalog: None, db_schema: None, table: table.to_owned() };
    let keys = client.ask(&of("flights")).unwrap();
    assert_eq!(keys.texts(3), ["time_hour", "carrier", "flight"]);
    assert_eq!(
        *keys.rows().column(5).as_any().downcast_ref::<Int32Array>().unwrap(),
        Int32Array::from(vec![1, 2, 3])
    );
    assert_eq!(client.ask(&of("none")).unwrap_err().code(), Code::NotFound);
    let exported = CommandGetExportedKeys { catalog: None, db_schema: None, table: "items".to_owned() };
    let imported = CommandGetImportedKeys { catalog: None, db_schema: None, table: "items".to_owned() };
    let cross = CommandGetCrossReference {
        pk_table: "items".to_owned(),
        fk_table: "flights".to_owned(),
        ..Default::default()
    };
    let shape = |answer: Answer| (answer.schema.fields().len(), answer.rows().num_rows());
    assert_eq!(shape(client.ask(&exported).unwrap()), (13, 0));
    assert_eq!(shape(client.ask(&imported).unwrap()), (13, 0));
    assert_eq!(shape(client.ask(&cross).unwrap()), (13, 0));
}

#[test]
fn facts_and_types_are_told() {
    let served = Served::open();
    let mut client = served.client();
    let all = client.ask(&CommandGetSqlInfo { info: Vec::new() }).unwrap();
    assert!(all.rows().num_rows() >= 30);
    let wanted = vec![SqlInfo::FlightSqlServerName as u32, SqlInfo::FlightSqlServerTransaction as u32];
    let some = client.ask(&CommandGetSqlInfo { info: wanted.clone() }).unwrap().rows();
    assert_eq!(some.column(0).as_primitive::<UInt32Type>().values().to_vec(), wanted);
    let values = some.column(1).as_union();
    assert_eq!(values.value(0).as_string::<i32>().value(0), "Pillion");
    let types = client.ask(&CommandGetXdbcTypeInfo { data_type: None }).unwrap();
    assert!(types.texts(0).contains(&"VARCHAR".to_owned()));
    let text = client.ask(&CommandGetXdbcTypeInfo { data_type: Some(12) }).unwrap();
    assert_eq!(text.texts(0), ["VARCHAR"]);
}

#[test]
fn actions_are_listed_and_what_is_missing_says_what_to_do() {
    let served = Served::open();
    let mut client = served.client();
    let request = client.request(Empty {});
    let listed: Vec<String> = client.runtime.block_on(async {
        let actions = client.inner.list_actions(request).await.unwrap().into_inner();
        actions.map_ok(|action| action.r#type).try_collect().await.unwrap()
    });
    assert!(listed.contains(&"CancelFlightInfo".to_owned()), "{listed:?}");
    for name in
        ["BeginTransaction", "EndTransaction", "BeginSavepoint", "CreatePreparedSubstraitPlan", "Nonsense"]
    {
        let error = client.act(name, "").unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented, "{name}: {error}");
        assert!(!listed.contains(&name.to_owned()));
    }
    client.act("CloseSession", "").unwrap();
    client.sql("SELECT 1").unwrap();
}
