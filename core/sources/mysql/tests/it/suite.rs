//! What every source must show.

use std::sync::Arc;

use arrow::array::{Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use pillion::Value;
use pillion::source::{Relation, Source};
use pillion_conformance::sources::{self, SourceUnderTest};

use crate::support::server::Server;

struct Shop(Server);

impl SourceUnderTest for Shop {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.0.source())
    }

    fn relation(&self) -> Relation {
        Relation::table("shop.orders")
    }

    fn rows(&self) -> RecordBatch {
        let zone: Arc<str> = "UTC".into();
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("item", DataType::Utf8, true),
            Field::new("price", DataType::Decimal128(8, 2), true),
            Field::new("changed", DataType::Timestamp(TimeUnit::Microsecond, Some(zone.clone())), true),
        ]);
        let prices = Decimal128Array::from(vec![Some(120), None, Some(-5), Some(0)]);
        let times =
            TimestampMicrosecondArray::from(vec![Some(1_000_000), Some(2_000_001), Some(2_000_001), None]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int32Array::from(vec![1, 2, 3, 4])),
                Arc::new(StringArray::from(vec![Some("pen"), Some(""), None, Some("\u{1f58b}")])),
                Arc::new(prices.with_precision_and_scale(8, 2).unwrap()),
                Arc::new(times.with_timezone(zone)),
            ],
        )
        .unwrap()
    }

    fn missing(&self) -> Relation {
        Relation::table("shop.nothing_of_that_name")
    }

    fn large(&self) -> (Relation, usize) {
        (Relation::table("large"), 60_000)
    }

    fn position(&self) -> Option<(String, Value)> {
        Some(("changed".to_owned(), Value::Timestamp { value: 2_000_001, unit: TimeUnit::Microsecond }))
    }

    fn change(&self) {
        self.0.sql("UPDATE orders SET item = 'other' WHERE id = 1;");
    }
}

#[test]
fn mariadb_passes_what_every_source_must_show() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "SET time_zone = '+00:00'; \
         CREATE TABLE orders (id int NOT NULL, item text, price decimal(8,2), changed timestamp(6) NULL); \
         INSERT INTO orders VALUES (1, 'pen', 1.20, '1970-01-01 00:00:01'), \
         (2, '', NULL, '1970-01-01 00:00:02.000001'), (3, NULL, -0.05, '1970-01-01 00:00:02.000001'), \
         (4, '\u{1f58b}', 0, NULL); \
         CREATE TABLE large AS SELECT seq AS n, repeat('x', 100) AS s FROM seq_1_to_60000;",
    );
    let shop = Shop(server);
    let checks = sources::check(&shop);
    println!("{checks} checks of every source");
    shop.0.wait_until_left_alone();
}
