//! The canonical text in SQL.

use arrow::datatypes::DataType;
use tokio_postgres::types::{Kind, Type};

/// A function takes at most 100 arguments, and each column is two.
const COLUMNS_AT_ONCE: usize = 40;

/// The digest of the row of some columns, each an expression with its type and the type of Arrow that holds it.
pub(crate) fn digest(columns: &[(String, Type, DataType)]) -> String {
    let texts: Vec<String> = columns
        .iter()
        .map(|(expression, kind, data_type)| {
            format!("coalesce({}, '-'), '|'", text(expression, kind, data_type, 0))
        })
        .collect();
    let parts: Vec<String> = texts
        .chunks(COLUMNS_AT_ONCE)
        .map(|texts| format!("pg_catalog.concat({})", texts.join(", ")))
        .collect();
    let row = format!("pg_catalog.concat({})", parts.join(", "));
    let hash = format!("pg_catalog.sha256(pg_catalog.convert_to({row}, 'UTF8'))");
    format!("('x' || pg_catalog.encode(pg_catalog.substring({hash}, 1, 8), 'hex'))::bit(64)::pg_catalog.int8")
}

/// The text of a value; null for a null.
fn text(expression: &str, kind: &Type, data_type: &DataType, depth: usize) -> String {
    let sent = |function: &str| format!("pg_catalog.encode(pg_catalog.{function}({expression}), 'hex')");
    match data_type {
        DataType::Float32 => sent("float4send"),
        DataType::Float64 => sent("float8send"),
        DataType::Date32 => sent("date_send"),
        DataType::Time64(_) => sent("time_send"),
        DataType::Timestamp(_, None) => sent("timestamp_send"),
        DataType::Timestamp(_, Some(_)) => sent("timestamptz_send"),
        DataType::Interval(_) => sent("interval_send"),
        DataType::Binary => format!("pg_catalog.encode({expression}, 'hex')"),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
            format!("pg_catalog.round({expression}, {scale})::pg_catalog.text")
        }
        DataType::Utf8 => {
            let text = characters(expression, kind);
            format!("(pg_catalog.char_length({text}) || ':' || {text})")
        }
        DataType::List(element) => {
            let (list, number) = (format!("e{depth}"), format!("n{depth}"));
            let element_kind = element_of(kind);
            let element = text(&list, element_kind, element.data_type(), depth + 1);
            format!(
                "CASE WHEN {expression} IS NOT NULL THEN '[' || coalesce(pg_catalog.array_dims({expression}), '') || \
                 coalesce((SELECT pg_catalog.string_agg(coalesce({element}, '-') || ',', '' ORDER BY {number}) \
                 FROM pg_catalog.unnest({expression}) WITH ORDINALITY AS u{depth}({list}, {number})), '') || ']' END"
            )
        }
        _ => format!("({expression})::pg_catalog.text"),
    }
}

/// The characters of a text. A cast of `char(n)` would lose the blanks at its end.
pub(super) fn characters(expression: &str, kind: &Type) -> String {
    match (kind, kind.kind()) {
        (&Type::BPCHAR, _) => format!("pg_catalog.textin(pg_catalog.bpcharout({expression}))"),
        // As it is sent: a cast keeps the declared encoding.
        (&Type::XML, _) => format!("pg_catalog.convert_from(pg_catalog.xml_send({expression}), 'UTF8')"),
        (_, Kind::Domain(base)) => characters(expression, base),
        _ => format!("({expression})::pg_catalog.text"),
    }
}

fn element_of(kind: &Type) -> &Type {
    match kind.kind() {
        Kind::Array(element) => element,
        Kind::Domain(base) => element_of(base),
        _ => kind,
    }
}
