//! Tables of every size and shape.

use std::sync::Arc;

use arrow::array::types::{Int32Type, Int64Type};
use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use pillion::{ErrorCode, Input, TableDefinition, Value};

use crate::model::{
    assert_names, assert_numbered, assert_rows, batch, collect, name_of, numbered, numbered_schema, refused,
    row_values, vals,
};
use crate::{Outcome, Session};

/// Rows of a full batch of a segment; the tables here are larger.
const BATCH_ROWS: i64 = 1 << 16;

/// A table without rows has columns, and takes rows later.
pub fn an_empty_table(session: &mut Session<'_>) -> Outcome {
    let empty = || Input::batches(numbered_schema(), []);
    let keyed = session.define_keyed("keyed", "id", empty())?;
    let plain = session.define("plain", TableDefinition::new(empty()))?;
    for table in [&keyed, &plain] {
        let info = table.info()?;
        assert_eq!((info.rows, info.bytes, info.segments), (0, 0, 0));
        assert_eq!(info.schema, numbered_schema());
        let rows = table.scan()?;
        assert_eq!(rows.schema(), &numbered_schema());
        assert_eq!(rows.concat()?.num_rows(), 0);
    }
    session.append("keyed", numbered([2, 1]))?;
    session.append("plain", numbered([2, 1]))?;
    assert_numbered(&session.table("keyed")?, [1, 2]);
    assert_numbered(&session.table("plain")?, [2, 1]);
    Ok(())
}

/// Batches without rows, before, between and after others, make no difference.
pub fn empty_batches_count_for_nothing(session: &mut Session<'_>) -> Outcome {
    let batches =
        vec![numbered([]), numbered([2]), numbered([]), numbered([]), numbered([1, 3]), numbered([])];
    session.define_keyed("t", "id", batches)?;
    session.append("t", numbered([]))?;
    session.append("t", vec![numbered([]), numbered([4])])?;
    assert_numbered(&session.table("t")?, 1..=4);
    session.replace("t", numbered([]))?;
    assert_numbered(&session.table("t")?, []);
    Ok(())
}

/// A table of one row.
pub fn one_row(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([7]))?;
    assert_numbered(&table, [7]);
    session.reopen();
    assert_numbered(&session.table("t")?, [7]);
    Ok(())
}

/// More rows than one batch holds, given out of order and in batches of odd sizes: all found, all in order.
pub fn rows_across_batches(session: &mut Session<'_>) -> Outcome {
    let count = 70_000;
    // 7919 is prime, so that this visits every number below `count` once.
    let shuffled: Vec<i64> = (0..count).map(|n| n * 7919 % count).collect();
    let batches: Vec<RecordBatch> = shuffled.chunks(9_999).map(|ids| numbered(ids.iter().copied())).collect();
    let table = session.define_keyed("t", "id", batches)?;
    let found = collect(table.scan());
    assert!(found.column(0).as_primitive::<Int64Type>().values().iter().copied().eq(0..count));
    let edges = [0, 1, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1, count - 1];
    for id in edges.into_iter().chain((0..count).step_by(977)) {
        let row = table.get(id)?.unwrap_or_else(|| panic!("{id} is there"));
        assert_eq!(row_values(&row), vals![id, name_of(id)]);
        let place = usize::try_from(id)?;
        assert_eq!(found.column(1).as_string::<i32>().value(place), name_of(id));
    }
    assert!(table.get(count)?.is_none());
    assert!(table.get(-1)?.is_none());
    Ok(())
}

/// Without a key or an order, rows keep the order in which they came, across batches.
pub fn rows_across_batches_keep_their_order(session: &mut Session<'_>) -> Outcome {
    let count = 70_000;
    let ids: Vec<i64> = (0..count).map(|n| n * 7919 % count).collect();
    let batches: Vec<RecordBatch> = ids.chunks(30_011).map(|ids| numbered(ids.iter().copied())).collect();
    let table = session.define("t", TableDefinition::new(batches))?;
    let found = collect(table.scan());
    assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), ids.as_slice());
    for (place, id) in ids.iter().enumerate().step_by(997) {
        assert_eq!(found.column(1).as_string::<i32>().value(place), name_of(*id));
    }
    Ok(())
}

/// More rows than one segment holds.
pub fn rows_across_segments(session: &mut Session<'_>) -> Outcome {
    const ROWS: i32 = (1 << 20) + 50_000;
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
    let columns = schema.clone();
    let batches = (0..ROWS).step_by(125_000).map(move |start| {
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(start..ROWS.min(start + 125_000)));
        RecordBatch::try_new(columns.clone(), vec![numbers]).unwrap()
    });
    let table = session.define("t", TableDefinition::new(Input::batches(schema, batches)))?;
    let info = table.info()?;
    assert_eq!(info.rows, u64::try_from(ROWS)?);
    assert_eq!(info.segments, 2);
    let mut next = 0;
    for batch in table.scan()? {
        let batch = batch?;
        let numbers = batch.column(0).as_primitive::<Int32Type>();
        assert!(numbers.values().iter().copied().eq(next..next + i32::try_from(numbers.len())?));
        next += i32::try_from(numbers.len())?;
    }
    assert_eq!(next, ROWS);
    Ok(())
}

/// A thousand columns.
pub fn a_thousand_columns(session: &mut Session<'_>) -> Outcome {
    let names: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    let columns: Vec<(&str, DataType, Vec<Value>)> = (0..)
        .zip(&names)
        .map(|(column, name): (i64, _)| match column % 3 {
            0 => {
                (name.as_str(), DataType::Int64, (0..20).map(|row| Value::Int(row * 1000 + column)).collect())
            }
            1 => {
                (name.as_str(), DataType::Utf8, (0..20).map(|row| format!("{row}/{column}").into()).collect())
            }
            _ => (
                name.as_str(),
                DataType::Boolean,
                (0..20).map(|row| Value::Bool((row + column) % 2 == 0)).collect(),
            ),
        })
        .collect();
    let rows = batch(&columns);
    let table = session.define_keyed("wide", "c999", rows.clone())?;
    let row = table.get(7999)?.expect("row 7 has this key");
    for (_, (name, _, values)) in (0..).zip(&columns).filter(|(column, _): &(usize, _)| column % 37 == 0) {
        assert_eq!(row.value(*name)?, values[7], "{name}");
    }
    assert_eq!(collect(table.scan()), rows);
    session.reopen();
    assert_eq!(collect(session.table("wide")?.scan()), rows);
    Ok(())
}

/// Values of a megabyte.
pub fn values_of_a_megabyte(session: &mut Session<'_>) -> Outcome {
    let text = |n: usize| format!("{n}").repeat(1 << 20);
    let texts: Vec<String> = (0..5).map(text).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..5))),
        ("s", Arc::new(StringArray::from_iter_values(&texts))),
        ("v", Arc::new(StringViewArray::from_iter_values(&texts))),
        ("b", Arc::new(BinaryArray::from_iter_values(&texts))),
    ];
    let table = session.define_keyed("t", "id", RecordBatch::try_from_iter(columns)?)?;
    for (id, text) in texts.iter().enumerate() {
        let row = table.get(i64::try_from(id)?)?.expect("it is there");
        assert!(row.get::<&str>("s")? == text);
        assert!(row.get::<&str>("v")? == text);
        assert!(row.get::<&[u8]>("b")? == text.as_bytes());
    }
    let found = collect(table.scan_columns(["v"]));
    assert!(found.column(0).as_string_view().iter().flatten().eq(texts.iter().map(String::as_str)));
    Ok(())
}

/// A sort order other than the key: rows are in that order, nulls last, and are found by their key.
pub fn an_order_other_than_the_key(session: &mut Session<'_>) -> Outcome {
    let groups = vals!["b", None::<&str>, "a", "b", "", "c", None::<&str>, "a"];
    let rows = batch(&[
        ("id", DataType::Int64, (0..8).map(Value::Int).collect()),
        ("group", DataType::Utf8, groups.clone()),
    ]);
    let definition = TableDefinition::new(rows).primary_key(["id"]).sort_by(["group", "id"]);
    let table = session.define("t", definition)?;
    let expected = [4, 2, 7, 0, 3, 5, 1, 6];
    let expected: Vec<Vec<Value>> = expected
        .iter()
        .map(|&id: &usize| vec![Value::Int(id.try_into().unwrap()), groups[id].clone()])
        .collect();
    assert_rows(&collect(table.scan()), &expected);
    for (id, group) in (0..8_i64).zip(&groups) {
        assert_eq!(&table.get(id)?.expect("it is there").value("group")?, group);
    }
    assert_eq!(table.info()?.rules.sort_by, ["group", "id"]);
    Ok(())
}

/// A sort order without a key; equal rows stay in the order in which they came.
pub fn an_order_without_a_key(session: &mut Session<'_>) -> Outcome {
    let rows = batch(&[
        ("at", DataType::Int32, vals![3, 1, 2, 1, 3, None::<i32>, 1]),
        ("n", DataType::Int32, vals![0, 1, 2, 3, 4, 5, 6]),
    ]);
    let table = session.define("t", TableDefinition::new(rows).sort_by(["at"]))?;
    let expected =
        [vals![1, 1], vals![1, 3], vals![1, 6], vals![2, 2], vals![3, 0], vals![3, 4], vals![None::<i32>, 5]];
    assert_rows(&collect(table.scan()), &expected);
    Ok(())
}

/// A scan of some columns gives them in the requested order; a column that does not exist is refused, with the nearest
/// known name.
pub fn a_scan_of_some_columns(session: &mut Session<'_>) -> Outcome {
    let rows = batch(&[
        ("alpha", DataType::Int32, vals![1, 2]),
        ("beta", DataType::Utf8, vals!["x", None::<&str>]),
        ("gamma", DataType::Boolean, vals![true, false]),
    ]);
    let table = session.define("t", TableDefinition::new(rows))?;
    let found = collect(table.scan_columns(["gamma", "alpha"]));
    assert_eq!(found.schema().field(0).name(), "gamma");
    assert_rows(&found, &[vals![true, 1], vals![false, 2]]);
    assert_names(&refused(table.scan_columns(["betta"]), ErrorCode::ColumnNotFound), &["betta", "`beta`"]);
    let none: [&str; 0] = [];
    let counted: usize =
        table.scan_columns(none)?.map(|batch| batch.map(|batch| batch.num_rows())).sum::<Result<_, _>>()?;
    assert_eq!(counted, 2, "rows without columns are rows");
    Ok(())
}
