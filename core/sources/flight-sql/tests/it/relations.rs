//! Tables, statements, columns and conditions.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, RunArray, StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use pillion::ErrorCode;
use pillion::source::{Fetch, Relation, Source};
use pillion_flight_sql::FlightSql;

use crate::support::peer::{Manners, Peer, dictionary};
use crate::support::roapi::Server;
use crate::support::{all, call, numbers, shown, statement, table};

#[test]
fn a_real_server_reads_names_conditions_and_statements() {
    let Some(server) = Server::start(&[("Order Lines", &[numbers(0, 9)]), ("numbers", &[numbers(5, 3)])])
    else {
        return;
    };
    let source = server.source();
    assert_eq!(source.relations(&call()).unwrap(), ["public.Order Lines", "public.numbers"]);
    for (fetch, expected) in [
        (table("numbers"), "5,text 5 6,text 6 7,text 7"),
        (table("NUMBERS").condition("id > 6 OR text = 'text 5'").columns(["id"]), "5 7"),
        (
            table("\"public\".\"Order Lines\"").condition("id IN (1, 2) -- of all").columns(["text", "id"]),
            "text 1,1 text 2,2",
        ),
        (table("Order Lines").condition("id < 0"), ""),
        (statement("SELECT max(id) AS top, 'a' || 'b' AS word FROM numbers;"), "7,ab"),
        (statement("SELECT id FROM numbers ORDER BY id DESC LIMIT 2 -- the last"), "7 6"),
        (statement("SELECT id / 6 AS half, count(*) AS n FROM numbers GROUP BY 1").condition("n > 1"), "1,2"),
        (statement("WITH t AS (SELECT 1 AS one) SELECT * FROM t"), "1"),
        (Fetch::of(Relation::table("numbers").as_text(["id"]).leave_out(["text"])), "5 6 7"),
    ] {
        let rows = all(&source, &fetch).unwrap_or_else(|error| panic!("{fetch:?}: {error}"));
        assert_eq!(shown(&rows).join(" "), expected, "{fetch:?}");
    }
    let text = all(&source, &Fetch::of(Relation::table("numbers").as_text(["id"]))).unwrap();
    assert_eq!(text.schema().field(0).data_type(), &DataType::Utf8);
    for (fetch, code, why) in [
        (table("number"), ErrorCode::SourceNotFound, "did you mean `numbers`?"),
        (table("other.numbers"), ErrorCode::SourceNotFound, "no table `other.numbers`"),
        (table("numbers").columns(["txt"]), ErrorCode::ColumnNotFound, "did you mean `text`?"),
        (table("numbers").condition("colour = 1"), ErrorCode::InvalidArgument, "the condition `colour = 1`"),
        // Together with other conditions it would mean something else.
        (table("numbers").condition("id = 5) OR (id = 6"), ErrorCode::InvalidArgument, "the condition"),
        (statement("SELECT nothing"), ErrorCode::InvalidArgument, "the statement"),
        (statement("SELECT 1 AS a, 2 AS a"), ErrorCode::InvalidArgument, "a"),
        (
            Fetch::of(Relation::table("numbers").leave_out(["id", "text"])),
            ErrorCode::InvalidArgument,
            "no column",
        ),
        (table("a.b.c.d"), ErrorCode::InvalidArgument, "more parts"),
    ] {
        let error = all(&source, &fetch).unwrap_err();
        assert_eq!(error.code(), code, "{fetch:?}: {error:?}");
        assert!(error.message().contains(why), "{fetch:?}: {error}");
    }
}

#[test]
fn names_are_quoted_as_the_server_says() {
    for (quotes, expected) in [
        (None, r#"SELECT "id", "text" FROM "rows""#),
        (Some("`"), "SELECT `id`, `text` FROM `rows`"),
        (Some(" "), "SELECT id, text FROM rows"),
    ] {
        let peer = Peer::start(Manners { parts: vec![vec![numbers(0, 3)]], quotes, ..Manners::default() });
        let source = FlightSql::from_url(&peer.url()).unwrap();
        assert_eq!(source.relations(&call()).unwrap(), ["sales.rows"]);
        assert_eq!(all(&source, &table("rows")).unwrap().num_rows(), 3);
        all(&source, &table("sales.rows").columns(["text"])).unwrap();
        let log = peer.log();
        assert!(log.iter().any(|line| line.starts_with(expected)), "{log:#?}");
        // Those that say how are asked once.
        let asked = log.iter().filter(|line| line.starts_with("GetSqlInfo")).count();
        assert_eq!(asked, if quotes.is_some() { 1 } else { 2 });
    }
}

#[test]
fn a_server_that_lists_nothing_is_asked_by_name() {
    let peer =
        Peer::start(Manners { parts: vec![vec![numbers(0, 3)]], has_no_list: true, ..Manners::default() });
    let source = FlightSql::from_url(&peer.url()).unwrap();
    let error = source.relations(&call()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unsupported);
    assert!(error.message().contains("GetTables") && error.message().contains("name what"), "{error}");
    assert_eq!(all(&source, &table("rows")).unwrap(), numbers(0, 3));
    let error = all(&source, &table("nonsense")).unwrap_err();
    assert!(error.message().contains("no such thing as nonsense"), "{error}");
}

#[test]
fn dictionaries_runs_and_views_are_decoded() {
    let texts = ["a", "b", "a", "a"];
    let numbers = |values: [i32; 2]| Int32Array::from(values.to_vec());
    let inner: ArrayRef =
        Arc::new(texts.into_iter().collect::<DictionaryArray<arrow::datatypes::Int8Type>>());
    let item = Arc::new(Field::new("item", dictionary(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([1, 0, 2, 1]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("dictionary", inner.clone()),
        ("runs", Arc::new(RunArray::<Int32Type>::try_new(&numbers([3, 4]), &numbers([7, 8])).unwrap())),
        ("view", Arc::new(StringViewArray::from_iter_values(texts))),
        ("list", Arc::new(arrow::array::ListArray::new(item, offsets, inner, None))),
    ];
    let peer = Peer::of(RecordBatch::try_from_iter(columns).unwrap());
    let source = FlightSql::from_url(&peer.url()).unwrap();
    let rows = all(&source, &table("rows")).unwrap();
    assert_eq!(shown(&rows), ["a,7,a,[a]", "b,7,b,[]", "a,7,a,[b, a]", "a,8,a,[a]"]);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let types: Vec<_> = rows.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Utf8, DataType::Int32, DataType::Utf8, list]);
}

#[test]
#[cfg(feature = "arrow-compression")]
fn compressed_rows_are_read() {
    use arrow::ipc::CompressionType;
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let parts = vec![vec![numbers(0, 10_000)]];
        let peer = Peer::start(Manners { parts, codec: Some(codec), ..Manners::default() });
        let rows = all(&FlightSql::from_url(&peer.url()).unwrap(), &table("rows")).unwrap();
        assert_eq!(rows, numbers(0, 10_000), "{codec:?}");
    }
}

#[test]
fn a_union_is_read_as_text_or_left_out() {
    let fields = arrow::datatypes::UnionFields::from_fields(vec![
        Field::new("number", DataType::Int32, true),
        Field::new("text", DataType::Utf8, true),
    ]);
    let children: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![7])), Arc::new(StringArray::from(vec!["x"]))];
    let union =
        arrow::array::UnionArray::try_new(fields, vec![0_i8, 1].into(), Some(vec![0, 0].into()), children)
            .unwrap();
    let schema = Schema::new(vec![
        Field::new("value", union.data_type().clone(), false),
        Field::new("id", DataType::Int32, true),
    ]);
    let rows =
        RecordBatch::try_new(schema.into(), vec![Arc::new(union), Arc::new(Int32Array::from(vec![1, 2]))]);
    let peer = Peer::of(rows.unwrap());
    let source = FlightSql::from_url(&peer.url()).unwrap();
    let error = source.describe(&Relation::table("rows"), &call()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnsupportedType);
    assert!(error.message().contains("column `value` of table `rows`"), "{error}");
    let described = source.describe(&Relation::table("rows").only(["id"]), &call()).unwrap();
    assert_eq!(described.schema().fields().len(), 1);
    let rows = all(&source, &Fetch::of(Relation::table("rows").leave_out(["value"]))).unwrap();
    assert_eq!(shown(&rows), ["1", "2"]);
    let rows = all(&source, &Fetch::of(Relation::table("rows").as_text(["value"]))).unwrap();
    assert_eq!(shown(&rows), ["{number=7},1", "{text=x},2"]);
}
