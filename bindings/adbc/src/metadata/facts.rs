//! Facts about the driver, and the types of tables.

use std::collections::HashSet;
use std::sync::Arc;

use adbc_core::constants;
use adbc_core::error::{Result, Status};
use adbc_core::options::InfoCode;
use adbc_core::schemas::{GET_INFO_SCHEMA, GET_TABLE_TYPES_SCHEMA};
use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array, UnionArray, new_empty_array,
};
use arrow::datatypes::DataType;

use super::{Reader, TABLE_TYPE, reader};
use crate::errors::refusal;

enum Fact {
    Text(&'static str),
    Switch(bool),
    Number(i64),
}

const FACTS: [(InfoCode, Fact); 9] = [
    (InfoCode::VendorName, Fact::Text("Pillion")),
    (InfoCode::VendorVersion, Fact::Text(env!("CARGO_PKG_VERSION"))),
    (InfoCode::VendorArrowVersion, Fact::Text(arrow::ARROW_VERSION)),
    (InfoCode::VendorSql, Fact::Switch(true)),
    (InfoCode::VendorSubstrait, Fact::Switch(false)),
    (InfoCode::DriverName, Fact::Text("ADBC driver of Pillion")),
    (InfoCode::DriverVersion, Fact::Text(env!("CARGO_PKG_VERSION"))),
    (InfoCode::DriverArrowVersion, Fact::Text(arrow::ARROW_VERSION)),
    (InfoCode::DriverAdbcVersion, Fact::Number(constants::ADBC_VERSION_1_1_0 as i64)),
];

/// Facts about the driver: all that there are, or those with some codes. Codes that nobody knows are left out.
pub(crate) fn info(codes: Option<&HashSet<InfoCode>>) -> Result<Reader> {
    let wanted = FACTS.iter().filter(|(code, _)| codes.is_none_or(|codes| codes.contains(code)));
    let (mut names, mut kinds, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    let (mut texts, mut switches, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (code, fact) in wanted {
        names.push(u32::from(code));
        // The kinds of the union: 0 is a text, 1 is yes or no, 2 is a number.
        let (kind, offset) = match fact {
            Fact::Text(text) => {
                texts.push(*text);
                (0_i8, texts.len())
            }
            Fact::Switch(switch) => {
                switches.push(*switch);
                (1, switches.len())
            }
            Fact::Number(number) => {
                numbers.push(*number);
                (2, numbers.len())
            }
        };
        kinds.push(kind);
        offsets.push(i32::try_from(offset - 1).unwrap_or_default());
    }
    let DataType::Union(fields, _) = GET_INFO_SCHEMA.field(1).data_type() else {
        return Err(refusal(Status::Internal, "ADBC declares facts that are no union"));
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts)),
        Arc::new(BooleanArray::from(switches)),
        Arc::new(Int64Array::from(numbers)),
    ];
    columns.extend(fields.iter().skip(columns.len()).map(|(_, field)| new_empty_array(field.data_type())));
    let values = UnionArray::try_new(fields.clone(), kinds.into(), Some(offsets.into()), columns)?;
    let names = UInt32Array::from(names);
    reader(RecordBatch::try_new(GET_INFO_SCHEMA.clone(), vec![Arc::new(names), Arc::new(values)])?)
}

/// The types of tables: there is one.
pub(crate) fn table_types() -> Result<Reader> {
    let types = StringArray::from(vec![TABLE_TYPE]);
    reader(RecordBatch::try_new(GET_TABLE_TYPES_SCHEMA.clone(), vec![Arc::new(types)])?)
}
