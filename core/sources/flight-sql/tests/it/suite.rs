//! What every source must show, against a real server.

use std::sync::Arc;

use arrow::array::{Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use pillion::Value;
use pillion::source::{Relation, Source};
use pillion_conformance::sources::{self, SourceUnderTest};

use crate::support::numbers;
use crate::support::roapi::Server;

const LARGE: i64 = 100_000;

struct Shop(Server);

fn orders() -> RecordBatch {
    let zone: Arc<str> = "UTC".into();
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("Item", DataType::Utf8, true),
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

impl SourceUnderTest for Shop {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.0.source())
    }

    fn relation(&self) -> Relation {
        Relation::table("public.orders")
    }

    fn rows(&self) -> RecordBatch {
        orders()
    }

    fn missing(&self) -> Relation {
        Relation::table("public.nothing_of_that_name")
    }

    fn large(&self) -> (Relation, usize) {
        (Relation::table("large"), usize::try_from(LARGE).unwrap())
    }

    fn position(&self) -> Option<(String, Value)> {
        Some(("changed".to_owned(), Value::Timestamp { value: 2_000_001, unit: TimeUnit::Microsecond }))
    }

    fn change(&self) {} // there are no marks that could follow
}

#[test]
fn a_real_server_passes_what_every_source_must_show() {
    let large: Vec<RecordBatch> = (0..LARGE).step_by(20_000).map(|first| numbers(first, 20_000)).collect();
    let Some(server) = Server::start(&[("orders", &[orders()]), ("large", &large)]) else { return };
    let checks = sources::check(&Shop(server));
    assert!(checks > 10);
}
