//! Lookups by keys of every type that a key can have.

use arrow::array::{Array, DurationMillisecondArray, DurationNanosecondArray, RecordBatch};
use arrow::datatypes::DataType;
use pillion::{ErrorCode, Table, TableDefinition, Value};

use crate::arrays;
use crate::model::{assert_names, assert_values, batch, collect, compare, refused, same, vals};
use crate::samples::{self, Keys};
use crate::{Outcome, Session};

macro_rules! key_types {
    ($($name:ident)+) => {
        $(
            #[doc = concat!("Keys of the type `", stringify!($name), "`: present, absent, in order, after reopening.")]
            pub fn $name(session: &mut Session<'_>) -> Outcome {
                keys_work(session, &samples::keys(stringify!($name)))
            }
        )+
    };
}

key_types! {
    boolean
    int8 int16 int32 int64
    uint8 uint16 uint32 uint64
    utf8 large_utf8 utf8_view
    binary large_binary binary_view fixed_size_binary
    date32 date64
    time32_second time32_millisecond time64_microsecond time64_nanosecond
    timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
    timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
    decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale
}

/// Rows that carry the present keys `k`, each with its number `n`.
pub(crate) fn keyed_rows(keys: &Keys) -> RecordBatch {
    let numbers = (0..).take(keys.present.len()).map(Value::Int).collect();
    batch(&[("k", keys.data_type.clone(), keys.present.clone()), ("n", DataType::Int64, numbers)])
}

/// Defines a table `t` of these rows, half of them appended, so that lookups search two segments.
pub(crate) fn define_halves(session: &mut Session<'_>, rows: &RecordBatch) -> pillion::Result<Table> {
    let half = rows.num_rows() / 2;
    session.define("t", TableDefinition::new(rows.slice(0, half)).primary_key(["k"]))?;
    session.append("t", rows.slice(half, rows.num_rows() - half))?;
    session.table("t")
}

fn keys_work(session: &mut Session<'_>, keys: &Keys) -> Outcome {
    let table = define_halves(session, &keyed_rows(keys))?;
    lookups_agree(&table, keys)?;
    session.reopen();
    lookups_agree(&session.table("t")?, keys)?;
    // One segment has them all in order.
    session.replace("t", keyed_rows(keys))?;
    let table = session.table("t")?;
    lookups_agree(&table, keys)?;
    let mut sorted = keys.present.clone();
    sorted.sort_by(compare);
    let sorted = stored_values(&keys.data_type, &sorted);
    assert_values(&arrays::values(collect(table.scan()).column(0)), &sorted, "keys in their order");
    Ok(())
}

/// The values that a column holds after these were written to it.
pub(crate) fn stored_values(data_type: &DataType, values: &[Value]) -> Vec<Value> {
    arrays::values(&arrays::array(data_type, values))
}

fn lookups_agree(table: &Table, keys: &Keys) -> Outcome {
    for (number, key) in keys.present.iter().enumerate() {
        let row = table.get(key)?.unwrap_or_else(|| panic!("{key} is there"));
        assert_eq!(row.get::<i64>("n")?, i64::try_from(number)?, "row of {key}");
        let read = row.value("k")?;
        let stored = &stored_values(&keys.data_type, std::slice::from_ref(key))[0];
        assert!(same(&read, stored), "stored {stored:?} and read {read:?}");
        // A day of Date64 is written as a date and read as a timestamp.
        if keys.data_type != DataType::Date64 {
            let again = table.get(&read)?.unwrap_or_else(|| panic!("{read} was read from a row"));
            assert_eq!(again.get::<i64>("n")?, i64::try_from(number)?, "row of {key} as it was read");
        }
    }
    for key in &keys.absent {
        assert!(table.get(key)?.is_none(), "{key} is not there");
    }
    let all = [keys.absent.as_slice(), &keys.present].concat();
    let found = table.get_many(&all)?;
    assert_eq!(found.iter().filter(|row| row.is_some()).count(), keys.present.len());
    Ok(())
}

/// Durations are keys; a caller writes them as integers in the column's unit.
pub fn durations_are_written_as_integers(session: &mut Session<'_>) -> Outcome {
    let durations = DurationMillisecondArray::from(vec![5, -5, 0, i64::MAX]);
    let rows = RecordBatch::try_from_iter([("k", std::sync::Arc::new(durations) as arrow::array::ArrayRef)])?;
    let table = session.define_keyed("t", "k", rows.clone())?;
    for key in [5, -5, 0, i64::MAX] {
        let row = table.get(key)?.expect("it is there");
        let place = (0..rows.num_rows()).find(|&place| {
            let stored = rows.column(0).as_any().downcast_ref::<DurationMillisecondArray>();
            stored.is_some_and(|stored| stored.value(place) == key)
        });
        assert_eq!(row.to_batch()?, rows.slice(place.expect("one of the rows"), 1));
    }
    assert!(table.get(6)?.is_none());
    Ok(())
}

/// The error about two rows of one key names the key's value, whatever its type.
pub fn a_duplicate_is_named_for_every_type(session: &mut Session<'_>) -> Outcome {
    let durations = DurationNanosecondArray::from(vec![7, 7]);
    let rows = RecordBatch::try_from_iter([("k", std::sync::Arc::new(durations) as arrow::array::ArrayRef)])?;
    let definition = TableDefinition::new(rows).primary_key(["k"]);
    let error = refused(session.define("duration", definition), ErrorCode::DuplicateKey);
    assert_names(&error, &["duration", "k"]);
    let rows = batch(&[("k", DataType::FixedSizeBinary(2), vals![b"ab".as_slice(), b"ab".as_slice()])]);
    let error = refused(session.define_keyed("bytes", "k", rows), ErrorCode::DuplicateKey);
    assert_names(&error, &["bytes", "k", "6162"]);
    Ok(())
}

/// Types that have no stable order or bytes are refused as keys, by name.
pub fn other_types_are_refused(session: &mut Session<'_>) -> Outcome {
    let names = ["null", "float16", "decimal256", "interval_month_day_nano", "list", "structure", "map"];
    for name in names {
        let array = samples::column(name).array;
        let data_type = array.data_type().to_string();
        let rows = RecordBatch::try_from_iter([("odd", array)])?;
        let error = refused(session.define_keyed(name, "odd", rows), ErrorCode::UnsupportedType);
        assert_names(&error, &["odd", &data_type]);
        refused(session.table(name), ErrorCode::TableNotFound);
    }
    Ok(())
}
