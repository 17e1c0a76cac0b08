//! What every source must show.

use std::sync::Arc;

use arrow::array::{Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use pillion::Value;
use pillion::source::{Relation, Source};
use pillion_conformance::sources::{self, SourceUnderTest};
use rusqlite::Connection;

use crate::support::database::Database;

const SHOP: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, price DECIMAL(8,2), changed TIMESTAMP); \
    INSERT INTO orders VALUES (1, 'pen', 1.20, '1970-01-01 00:00:01'), (2, '', NULL, '1970-01-01T00:00:02.000001Z'), \
    (3, NULL, -0.05, 2.000001), (4, '\u{1f58b}', 0, NULL); \
    CREATE TABLE large AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 60000) \
    SELECT CAST(n AS INTEGER) AS n, CAST(printf('%100d', n) AS TEXT) AS s FROM n;";

struct Shop {
    database: Database,
    /// An application that has the file open meanwhile.
    application: Option<Connection>,
}

impl SourceUnderTest for Shop {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.database.source())
    }

    fn relation(&self) -> Relation {
        Relation::table("orders")
    }

    fn rows(&self) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("item", DataType::Utf8, true),
            Field::new("price", DataType::Decimal128(8, 2), true),
            Field::new("changed", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        ]);
        let prices = Decimal128Array::from(vec![Some(120), None, Some(-5), Some(0)]);
        let times =
            TimestampMicrosecondArray::from(vec![Some(1_000_000), Some(2_000_001), Some(2_000_001), None]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
                Arc::new(StringArray::from(vec![Some("pen"), Some(""), None, Some("\u{1f58b}")])),
                Arc::new(prices.with_precision_and_scale(8, 2).unwrap()),
                Arc::new(times),
            ],
        )
        .unwrap()
    }

    fn missing(&self) -> Relation {
        Relation::table("nothing_of_that_name")
    }

    fn large(&self) -> (Relation, usize) {
        (Relation::table("large").option("types", "n=INTEGER,s=TEXT"), 60_000)
    }

    fn position(&self) -> Option<(String, Value)> {
        Some(("changed".to_owned(), Value::Timestamp { value: 2_000_001, unit: TimeUnit::Microsecond }))
    }

    fn change(&self) {
        let other = "UPDATE orders SET item = 'other' WHERE id = 1;";
        match &self.application {
            Some(application) => application.execute_batch(other).unwrap(),
            None => self.database.execute(other),
        }
    }
}

fn check(journal: &str, is_open: bool) {
    let database = Database::with(&format!("PRAGMA journal_mode = {journal}; {SHOP}"));
    let application = is_open.then(|| {
        let application = database.connect();
        application.execute_batch("UPDATE orders SET item = item;").unwrap();
        application
    });
    let shop = Shop { database, application };
    let checks = sources::check(&shop);
    println!("{checks} checks of every source");
    let Shop { database, application } = shop;
    drop(application);
    database.wait_until_left_alone();
    assert_eq!(database.files(), ["shop.db"]);
}

#[test]
fn a_file_with_a_rollback_journal_passes_what_every_source_must_show() {
    check("delete", false);
    check("persist", true);
}

#[test]
fn a_file_with_a_write_ahead_log_passes_what_every_source_must_show() {
    check("wal", true);
}

#[test]
fn a_closed_file_with_a_write_ahead_log_passes_what_every_source_must_show() {
    check("wal", false);
}
