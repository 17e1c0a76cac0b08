//! Queries on key columns of every type; what they find is what a lookup finds.

use std::cmp::Ordering;

use pillion::Value;

use crate::arrays;
use crate::key_types::{define_halves, keyed_rows, stored_values};
use crate::model::{assert_rows, assert_rows_in_any_order, assert_values, compare};
use crate::samples::{self, Keys};
use crate::{Outcome, Session};

macro_rules! key_queries {
    ($($name:ident)+) => {
        $(
            #[doc = concat!("Queries by a key of the type `", stringify!($name), "`: equality, lists, order, ranges.")]
            pub fn $name(session: &mut Session<'_>) -> Outcome {
                queries_work(session, &samples::keys(stringify!($name)))
            }
        )+
    };
}

key_queries! {
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

fn queries_work(session: &mut Session<'_>, keys: &Keys) -> Outcome {
    let table = define_halves(session, &keyed_rows(keys))?;
    for (number, key) in keys.present.iter().enumerate() {
        let found = session.sql("SELECT n FROM t WHERE k = $1", std::slice::from_ref(key))?;
        assert_rows(&found, &[vec![Value::Int(number.try_into()?)]]);
        let row = table.get(key)?.expect("it is there");
        assert_eq!(arrays::values(found.column(0)), [row.value("n")?], "a query and a lookup of {key}");
    }
    for key in &keys.absent {
        assert_rows(&session.sql("SELECT n FROM t WHERE k = $1", std::slice::from_ref(key))?, &[]);
    }
    let list: Vec<String> = (1..=keys.present.len()).map(|number| format!("${number}")).collect();
    let found = session.sql(&format!("SELECT n FROM t WHERE k IN ({})", list.join(", ")), &keys.present)?;
    let all: Vec<Vec<Value>> =
        (0..).take(keys.present.len()).map(|number| vec![Value::Int(number)]).collect();
    assert_rows_in_any_order(&found, &all);
    let mut sorted = keys.present.clone();
    sorted.sort_by(compare);
    let ordered = session.sql("SELECT k FROM t ORDER BY k", &[])?;
    assert_eq!(ordered.schema().field(0).data_type(), &keys.data_type);
    let stored = stored_values(&keys.data_type, &sorted);
    assert_values(&arrays::values(ordered.column(0)), &stored, "keys in their order");
    for bound in [&keys.present[0], keys.absent.first().unwrap_or(&keys.present[0])] {
        let found = session.sql("SELECT k FROM t WHERE k > $1 ORDER BY k", std::slice::from_ref(bound))?;
        let above: Vec<Value> =
            sorted.iter().filter(|key| compare(key, bound) == Ordering::Greater).cloned().collect();
        let above = stored_values(&keys.data_type, &above);
        assert_values(&arrays::values(found.column(0)), &above, &format!("keys above {bound}"));
    }
    Ok(())
}
