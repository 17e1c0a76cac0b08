//! Columns of every type that can be stored come back as they went in.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StringViewArray, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, UnionFields, UnionMode};
use pillion::{ErrorCode, Table, TableDefinition, ValueRef};

use crate::model::{assert_names, collect, refused, same};
use crate::samples::{self, Column};
use crate::{Outcome, Session};

macro_rules! columns {
    ($($name:ident)+) => {
        $(
            #[doc = concat!("A column `", stringify!($name), "` comes back by lookup, scan and after reopening.")]
            pub fn $name(session: &mut Session<'_>) -> Outcome {
                round_trips(session, &samples::column(stringify!($name)))
            }
        )+
    };
}

columns! {
    null boolean
    int8 int16 int32 int64
    uint8 uint16 uint32 uint64
    float16 float32 float64
    utf8 large_utf8 utf8_view
    binary large_binary binary_view fixed_size_binary
    date32 date64
    time32_second time32_millisecond time64_microsecond time64_nanosecond
    timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
    timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
    duration_second duration_millisecond duration_microsecond duration_nanosecond
    interval_year_month interval_day_time interval_month_day_nano
    decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale decimal256
    list large_list fixed_size_list structure map list_of_structure required_children
}

/// Rows of a number `id` and the column `c`.
pub(crate) fn identified(array: &ArrayRef) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..).take(array.len())));
    RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("c", array.clone(), true)]).unwrap()
}

fn round_trips(session: &mut Session<'_>, column: &Column) -> Outcome {
    let rows = identified(&column.array);
    let table = session.define_keyed("t", "id", rows.clone())?;
    assert_eq!(table.schema(), &rows.schema());
    reads_agree(&table, column, &rows)?;
    session.reopen();
    reads_agree(&session.table("t")?, column, &rows)?;
    // A slice of the same arrays, which refers to buffers with more values than it has.
    let half = rows.slice(rows.num_rows() / 2, rows.num_rows() - rows.num_rows() / 2);
    session.replace("t", half.clone())?;
    assert_eq!(collect(session.table("t")?.scan()), half);
    // One row in each commit, read together.
    session.define_keyed("single", "id", rows.slice(0, 0))?;
    (0..rows.num_rows()).try_for_each(|row| session.append("single", rows.slice(row, 1)).map(drop))?;
    assert_eq!(collect(session.table("single")?.scan()), rows);
    session.compact()?;
    assert_eq!(collect(session.table("single")?.scan()), rows);
    Ok(())
}

fn reads_agree(table: &Table, column: &Column, rows: &RecordBatch) -> Outcome {
    for number in 0..rows.num_rows() {
        let row = table.get(i64::try_from(number)?)?.expect("it is there");
        assert_eq!(row.to_batch()?, rows.slice(number, 1), "row {number} as a batch");
        match &column.values {
            Some(values) => {
                let found = row.value("c")?;
                assert!(
                    same(&found, &values[number]),
                    "row {number}: found {found:?}, expected {:?}",
                    values[number]
                );
                let optional = row.get::<Option<ValueRef<'_>>>("c")?;
                assert_eq!(optional.is_none(), matches!(values[number], pillion::Value::Null));
            }
            None if column.array.is_null(number) => assert!(matches!(row.value("c")?, pillion::Value::Null)),
            None => assert_names(&refused(row.value("c"), ErrorCode::TypeMismatch), &["c"]),
        }
    }
    assert_eq!(&collect(table.scan()), rows, "scan of all columns");
    let projected = collect(table.scan_columns(["c"]));
    assert_eq!(projected, rows.project(&[1])?, "scan of one column");
    Ok(())
}

/// View columns with values longer and shorter than the 12 bytes that fit into a view, in a slice that shares its data
/// buffers with rows that are not stored.
pub fn views_into_shared_buffers(session: &mut Session<'_>) -> Outcome {
    let texts: Vec<String> = (0..2000).map(|n| "x".repeat(n % 40) + &n.to_string()).collect();
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
    let bytes: ArrayRef = Arc::new(BinaryViewArray::from_iter_values(&texts));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2000));
    let all = RecordBatch::try_from_iter([("id", ids), ("s", views), ("b", bytes)])?;
    let slices = vec![all.slice(1990, 10), all.slice(3, 7), all.slice(500, 100)];
    session.define_keyed("t", "id", slices)?;
    session.append("t", all.slice(10, 1))?;
    let table = session.table("t")?;
    let stored = (3..11).chain(500..600).chain(1990..2000);
    for number in stored.clone() {
        let row = table.get(i64::try_from(number)?)?.expect("it is there");
        assert_eq!(row.get::<&str>("s")?, texts[number]);
        assert_eq!(row.get::<&[u8]>("b")?, texts[number].as_bytes());
    }
    assert_eq!(table.info()?.rows, stored.count() as u64);
    Ok(())
}

/// A column that must not be null stays so.
pub fn required_columns_stay_required(session: &mut Session<'_>) -> Outcome {
    let array: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let rows = RecordBatch::try_from_iter_with_nullable([("a", array.clone(), false), ("b", array, true)])?;
    session.define_keyed("t", "a", rows.clone())?;
    session.reopen();
    let schema = session.table("t")?.schema().clone();
    assert_eq!(schema, rows.schema());
    assert!(!schema.field(0).is_nullable());
    assert!(schema.field(1).is_nullable());
    Ok(())
}

/// Columns that only encode values differently in memory, at any depth, become those values: in new tables and in tables that
/// are there, whatever the way of writing.
pub fn encodings_are_decoded(session: &mut Session<'_>) -> Outcome {
    let texts: ArrayRef =
        Arc::new(StringArray::from(vec![Some("a"), None, Some("a text that is not short")]));
    let item = |of: &DataType| Arc::new(Field::new("item", of.clone(), true));
    let list = |array: &ArrayRef| -> ArrayRef {
        let offsets = OffsetBuffer::from_lengths([2, 0, 1]);
        Arc::new(ListArray::new(item(array.data_type()), offsets, array.clone(), None))
    };
    let views = cast(&texts, &DataType::Utf8View)?;
    let dictionary = cast(&texts, &dictionary_of(DataType::Utf8))?;
    let dictionary_of_views = cast(&views, &dictionary_of(DataType::Utf8View))?;
    let runs = cast(&texts, &runs_of(DataType::Utf8))?;
    let list_views = cast(&list(&dictionary), &DataType::ListView(item(dictionary.data_type())))?;
    let structure = |array: &ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new("inner", array.data_type().clone(), true));
        Arc::new(StructArray::from(vec![(field, array.clone())]))
    };
    let columns = [
        ("dictionary", dictionary.clone(), texts.clone()),
        ("dictionary_of_views", dictionary_of_views, views.clone()),
        ("runs", runs.clone(), texts.clone()),
        ("views_in_a_list", list(&views), list(&texts)),
        ("dictionary_in_a_list", list(&dictionary), list(&texts)),
        ("list_view_of_a_dictionary", list_views, list(&texts)),
        ("dictionary_in_a_structure", structure(&dictionary), structure(&texts)),
        ("runs_in_a_structure", structure(&runs), structure(&texts)),
        ("views_in_a_list_in_a_structure", structure(&list(&views)), structure(&list(&texts))),
    ];
    for (name, encoded, plain) in columns {
        let (encoded, plain) = (identified(&encoded), identified(&plain));
        let table = session.define_keyed(name, "id", encoded.clone())?;
        assert_eq!(table.schema(), &plain.schema(), "{name}");
        let stored = |session: &mut Session<'_>| session.table(name).and_then(|table| table.scan()?.concat());
        assert_eq!(stored(session)?, plain, "{name}");
        session.upsert(name, encoded.slice(1, 2))?;
        session.replace(name, encoded.slice(0, 1))?;
        session.append(name, vec![encoded.slice(1, 0), encoded.slice(1, 1), encoded.slice(2, 1)])?;
        session.reopen();
        session.compact()?;
        assert_eq!(stored(session)?, plain, "{name}");
    }
    // More rows than are decoded at a time, and more than fit into one message.
    let many: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..40_000).map(|row| format!("value {}", row % 7))));
    let table =
        session.define_keyed("many", "id", identified(&cast(&many, &dictionary_of(DataType::Utf8))?))?;
    assert_eq!(table.scan()?.concat()?, identified(&many));
    // A table of views takes plain texts and dictionaries.
    session.define_keyed("views", "id", identified(&views))?;
    session.replace("views", identified(&dictionary))?;
    assert_eq!(session.table("views")?.scan()?.concat()?, identified(&views));
    // Other values are not cast.
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let numbers = identified(&cast(&numbers, &dictionary_of(DataType::Int64))?);
    assert_names(&refused(session.append("views", numbers), ErrorCode::SchemaMismatch), &["`c`", "Int64"]);
    Ok(())
}

fn dictionary_of(values: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
}

fn runs_of(values: DataType) -> DataType {
    let ends = Field::new("run_ends", DataType::Int32, false);
    DataType::RunEndEncoded(Arc::new(ends), Arc::new(Field::new("values", values, true)))
}

/// A type that no table stores is refused with the name of the column, also where columns beside it are decoded.
pub fn unions_are_refused_by_name(session: &mut Session<'_>) -> Outcome {
    let fields = UnionFields::try_new([0], [Field::new("number", DataType::Int64, true)])?;
    let union = DataType::Union(fields, UnionMode::Sparse);
    let nested = DataType::List(Arc::new(Field::new("item", union.clone(), true)));
    for of in [union, nested] {
        let error =
            refused(session.define("t", TableDefinition::new(empty(&of))), ErrorCode::UnsupportedType);
        assert_names(&error, &["`c`", "Union"]);
        refused(session.table("t"), ErrorCode::TableNotFound);
    }
    Ok(())
}

fn empty(of: &DataType) -> RecordBatch {
    let fields =
        vec![Field::new("d", dictionary_of(DataType::Utf8), true), Field::new("c", of.clone(), true)];
    RecordBatch::new_empty(Arc::new(Schema::new(fields)))
}

/// Nested types whose arrays Arrow cannot concatenate are refused.
pub fn shapes_that_cannot_be_joined_are_refused(session: &mut Session<'_>) -> Outcome {
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let map = |key_nullable, entries_nullable| {
        let pair =
            ["key", "value"].map(|name| Field::new(name, DataType::Int64, name == "value" || key_nullable));
        let entries = Field::new("entries", DataType::Struct(pair.into_iter().collect()), entries_nullable);
        DataType::Map(Arc::new(entries), false)
    };
    for (name, data_type, is_stored) in [
        ("no_elements", DataType::FixedSizeList(item.clone(), 0), false),
        ("an_element", DataType::FixedSizeList(item, 1), true),
        ("nullable_key", map(true, false), false),
        ("nullable_entries", map(false, true), false),
        ("map", map(false, false), true),
    ] {
        let rows = identified(&new_null_array(&data_type, 3));
        if is_stored {
            assert_eq!(session.define_keyed(name, "id", rows)?.info()?.rows, 3);
        } else {
            let error = refused(session.define_keyed(name, "id", rows), ErrorCode::UnsupportedType);
            assert_names(&error, &["`c`"]);
        }
    }
    Ok(())
}

/// A value read as another Rust type is refused, and so is a null read without `Option`.
pub fn a_value_is_read_as_its_type_only(session: &mut Session<'_>) -> Outcome {
    let number: ArrayRef = Arc::new(Int32Array::from(vec![Some(70_000), None]));
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("one"), None]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let rows = RecordBatch::try_from_iter([("id", id), ("number", number), ("text", text)])?;
    let table = session.define_keyed("t", "id", rows)?;
    let row = table.get(0)?.expect("it is there");
    assert_eq!(row.get::<i32>("number")?, 70_000);
    assert_eq!(row.get::<i64>("number")?, 70_000);
    assert_names(&refused(row.get::<i16>("number"), ErrorCode::TypeMismatch), &["number", "Int32", "i16"]);
    refused(row.get::<u64>("number"), ErrorCode::TypeMismatch);
    refused(row.get::<f64>("number"), ErrorCode::TypeMismatch);
    refused(row.get::<&str>("number"), ErrorCode::TypeMismatch);
    refused(row.get::<bool>("text"), ErrorCode::TypeMismatch);
    refused(row.get::<&[u8]>("text"), ErrorCode::TypeMismatch);
    let nulls = table.get(1)?.expect("it is there");
    assert_names(
        &refused(nulls.get::<i32>("number"), ErrorCode::TypeMismatch),
        &["number", "null", "Option"],
    );
    refused(nulls.get::<String>("text"), ErrorCode::TypeMismatch);
    assert_eq!(nulls.get::<Option<i32>>("number")?, None);
    assert_eq!(nulls.get::<Option<&str>>("text")?, None);
    Ok(())
}
