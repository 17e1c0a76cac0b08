//! Real data loads, is found and is refused as it should be: flights from New York in 2013, and what goes with them.

use std::collections::HashMap;
use std::fs::File;

use arrow::array::types::{Int64Type, TimestampMicrosecondType};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimeUnit;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pillion::{Cache, ErrorCode, TableDefinition, Value};

use crate::support::{data, refused};

/// All rows of a Parquet file, read without the cache.
fn rows(name: &str) -> RecordBatch {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(File::open(data(name)).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[test]
fn flights_are_found_by_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let key = ["time_hour", "carrier", "flight"];
    let definition = TableDefinition::parquet(data("flights.parquet")).primary_key(key);
    let flights = cache.define_table("flights", definition).unwrap();
    let file = rows("flights.parquet");
    let info = flights.info().unwrap();
    assert_eq!((info.rows, file.num_rows()), (336_776, 336_776));
    // By the schema the moment in the key may be null, but no row has a null there.
    assert!(info.schema.field_with_name("time_hour").unwrap().is_nullable());

    let moments =
        file.column_by_name("time_hour").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
    let carriers = file.column_by_name("carrier").unwrap().as_string::<i32>().clone();
    let numbers = file.column_by_name("flight").unwrap().as_primitive::<Int64Type>().clone();
    let key_of = |row: usize| {
        let moment = Value::Timestamp { value: moments.value(row), unit: TimeUnit::Microsecond };
        (moment, carriers.value(row).to_owned(), numbers.value(row))
    };
    for row in (0..file.num_rows()).step_by(211).chain([file.num_rows() - 1]) {
        let found = flights.get(key_of(row)).unwrap().unwrap_or_else(|| panic!("row {row} is there"));
        assert_eq!(found.to_batch().unwrap(), file.slice(row, 1), "row {row}");
        let (moment, carrier, number) = key_of(row);
        assert!(flights.get((&moment, "??", number)).unwrap().is_none());
        assert!(flights.get((&moment, carrier, number + 100_000)).unwrap().is_none());
    }

    // Every row comes once, in the order of the key.
    let mut seen: HashMap<(i64, String, i64), i64> = (0..file.num_rows())
        .map(|row| ((moments.value(row), carriers.value(row).to_owned(), numbers.value(row)), 1))
        .collect();
    assert_eq!(seen.len(), file.num_rows(), "the key is unique in the file");
    let mut last = None;
    for batch in flights.scan_columns(key).unwrap() {
        let batch = batch.unwrap();
        let moments = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let (carriers, numbers) =
            (batch.column(1).as_string::<i32>(), batch.column(2).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let key = (moments.value(row), carriers.value(row).to_owned(), numbers.value(row));
            *seen.get_mut(&key).unwrap() -= 1;
            assert!(last.as_ref() < Some(&key), "rows are in the order of the key");
            last = Some(key);
        }
    }
    assert!(seen.values().all(|left| *left == 0), "every row came once");

    #[cfg(feature = "sql")]
    {
        let delays = file.column_by_name("arr_delay").unwrap().as_primitive::<Int64Type>();
        let of = |carrier: &str| {
            (0..file.num_rows()).filter(|&row| carriers.value(row) == carrier).collect::<Vec<_>>()
        };
        for carrier in ["UA", "HA", "OO"] {
            let late: Vec<i64> = of(carrier)
                .into_iter()
                .filter(|&row| delays.is_valid(row))
                .map(|row| delays.value(row))
                .collect();
            let text = "SELECT count(*), count(arr_delay), sum(arr_delay) FROM flights WHERE carrier = $1";
            let found = cache.sql(text, &[carrier.into()]).unwrap().concat().unwrap();
            let number = |column: usize| found.column(column).as_primitive::<Int64Type>().value(0);
            let counted = i64::try_from(of(carrier).len()).unwrap();
            let known = i64::try_from(late.len()).unwrap();
            assert_eq!((number(0), number(1), number(2)), (counted, known, late.iter().sum::<i64>()));
        }
    }
}

#[test]
fn weather_is_refused_by_a_key_that_is_not_unique() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let key = ["year", "month", "day", "hour", "origin"];
    let definition = TableDefinition::parquet(data("weather.parquet")).primary_key(key);
    // On this day the clocks went back, so hour 1 came twice.
    let values = ["`weather`", "year=2013", "month=11", "day=3", "hour=1", "origin="];
    refused(cache.define_table("weather", definition), ErrorCode::DuplicateKey, &values);
    refused(cache.table("weather"), ErrorCode::TableNotFound, &["weather"]);
    assert!(crate::support::files::segments(dir.path()).is_empty(), "nothing stays of it");

    let weather = cache.define_table("weather", TableDefinition::parquet(data("weather.parquet"))).unwrap();
    assert_eq!(weather.info().unwrap().rows, 26_115);
    assert_eq!(weather.scan().unwrap().concat().unwrap(), rows("weather.parquet"));
    refused(weather.get(1), ErrorCode::NoPrimaryKey, &["`weather`"]);
    let definition = TableDefinition::parquet(data("weather.parquet")).primary_key(["time_hour", "origin"]);
    let hourly = cache.define_table("hourly", definition).unwrap();
    assert_eq!(hourly.info().unwrap().rows, 26_115);
}

#[test]
fn small_tables_come_back_row_by_row() {
    let dir = tempfile::tempdir().unwrap();
    for (name, key, count) in
        [("airlines", "carrier", 16), ("airports", "faa", 1458), ("planes", "tailnum", 3322)]
    {
        let cache = Cache::open(dir.path()).unwrap();
        let parquet = format!("{name}.parquet");
        let table =
            cache.define_table(name, TableDefinition::parquet(data(&parquet)).primary_key([key])).unwrap();
        let file = rows(&parquet);
        assert_eq!((file.num_rows(), table.info().unwrap().rows), (count, count as u64));
        assert_eq!(table.schema().fields(), file.schema().fields());
        let keys = file.column_by_name(key).unwrap().as_string::<i32>();
        for row in 0..count {
            let found =
                table.get(keys.value(row)).unwrap().unwrap_or_else(|| panic!("{} is there", keys.value(row)));
            assert_eq!(found.to_batch().unwrap(), file.slice(row, 1));
        }
        assert!(table.get("no such key").unwrap().is_none());
    }
    // The last opening found the tables of those before it.
    let cache = Cache::open(dir.path()).unwrap();
    assert_eq!(cache.tables().unwrap().iter().map(|table| table.rows).collect::<Vec<_>>(), [16, 1458, 3322]);
    assert_eq!(cache.table("planes").unwrap().info().unwrap().rules.primary_key, ["tailnum"]);
}

#[test]
fn files_of_a_pattern_are_read_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b.parquet", "a.parquet", "c.parquet", "c.csv"] {
        std::fs::copy(data("airlines.parquet"), dir.path().join(name)).unwrap();
    }
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let pattern = format!("{}/[ab].parquet", dir.path().display());
    let table = cache.define_table("airlines", TableDefinition::parquet(pattern)).unwrap();
    let once = rows("airlines.parquet");
    assert_eq!(
        table.scan().unwrap().concat().unwrap(),
        concat_batches(&once.schema(), [&once, &once]).unwrap()
    );
    let all = format!("{}/*.parquet", dir.path().display());
    refused(
        cache.define_table("keyed", TableDefinition::parquet(all).primary_key(["carrier"])),
        ErrorCode::DuplicateKey,
        &["carrier="],
    );
}

/// What the flights say about hours of the day, which start again every day; by plain counting.
#[cfg(feature = "sql")]
#[test]
fn hours_of_flights_are_counted_whatever_the_day() {
    const DAY: i64 = 86_400_000_000;
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let definition = TableDefinition::parquet(data("flights.parquet")).sort_by(["time_hour"]);
    cache.define_table("flights", definition).unwrap();
    let file = rows("flights.parquet");
    let moments =
        file.column_by_name("time_hour").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
    let hour = |hour: i64| hour * DAY / 24;
    let of_file = |wanted: &dyn Fn(i64) -> bool| {
        let times = moments.iter().flatten().map(|moment| moment.rem_euclid(DAY));
        i64::try_from(times.filter(|&time| wanted(time)).count()).unwrap()
    };
    let of_cache = |condition: &str| {
        let text = format!("SELECT count(*) FROM flights WHERE {condition}");
        let found = cache.sql(&text, &[]).unwrap().concat().unwrap();
        found.column(0).as_primitive::<Int64Type>().value(0)
    };
    let late = of_cache("time_hour::time >= TIME '20:00:00'");
    assert_eq!((late, late), (of_file(&|time| time >= hour(20)), 91_532));
    let morning = of_cache("CAST(time_hour AS TIME) BETWEEN TIME '09:00:00' AND TIME '10:00:00'");
    assert_eq!((morning, morning), (of_file(&|time| (hour(9)..=hour(10)).contains(&time)), 19_318));
}
