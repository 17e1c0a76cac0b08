//! Which column of Arrow holds the values of a type; the table in the crate's documentation says the same.

use tokio_postgres::types::{Kind, Type};

use crate::decode::cells::{self, Cells, List};

/// Digits that the widest decimals hold.
const DIGITS_128: i32 = 38;
const DIGITS_256: i32 = 76;

/// An empty column for values of a type, or why there is none. `modifier` is what follows the name of the type in
/// parentheses, as the server encodes it.
pub(crate) fn cells_of(kind: &Type, modifier: i32) -> Result<Box<dyn Cells>, String> {
    Ok(match *kind {
        Type::BOOL => cells::boolean(),
        Type::INT2 => cells::int2(),
        Type::INT4 => cells::int4(),
        Type::INT8 => cells::int8(),
        Type::OID => cells::oid(),
        Type::FLOAT4 => cells::float4(),
        Type::FLOAT8 => cells::float8(),
        Type::NUMERIC => return decimal(modifier),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::XML => cells::text(),
        Type::JSONB => cells::jsonb(),
        Type::UUID => cells::uuid(),
        Type::BYTEA => cells::bytea(),
        Type::DATE => cells::date(),
        Type::TIME => cells::time(),
        Type::TIMESTAMP => cells::timestamp(None),
        Type::TIMESTAMPTZ => cells::timestamp(Some("UTC")),
        Type::INTERVAL => cells::interval(),
        // Arrays in the catalogs whose first index is 0.
        Type::INT2_VECTOR | Type::OID_VECTOR => return Err(no_mapping(kind)),
        _ => match kind.kind() {
            Kind::Enum(_) => cells::text(),
            Kind::Simple if kind.name() == "citext" => cells::text(),
            Kind::Domain(base) => return cells_of(base, -1),
            Kind::Array(element) => match cells_of(element, modifier) {
                Ok(elements) => List::of(elements),
                Err(_) if *element == Type::NUMERIC => return decimal(modifier),
                Err(_) => return Err(no_mapping(kind)),
            },
            _ => return Err(no_mapping(kind)),
        },
    })
}

/// The name of a type, as SQL writes it.
pub(crate) fn shown(kind: &Type) -> String {
    match kind.kind() {
        Kind::Array(element) => format!("{}[]", shown(element)),
        _ => kind.name().to_owned(),
    }
}

fn no_mapping(kind: &Type) -> String {
    format!("has the type `{}`, which has no mapping", shown(kind))
}

/// Precision and scale stand in the upper and lower half of a modifier, behind a header of 4. A scale has 11 bits.
fn decimal(modifier: i32) -> Result<Box<dyn Cells>, String> {
    if modifier < 4 {
        return Err("is `numeric` without precision and scale, so its values fit into no decimal".to_owned());
    }
    let precision = ((modifier - 4) >> 16) & 0xffff;
    let scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
    // A scale below 0 stands for zeros before the point, one above the precision for zeros behind it.
    let digits = if scale < 0 { precision - scale } else { precision.max(scale) };
    let (Ok(narrow), Ok(behind)) = (u8::try_from(digits), u8::try_from(scale.max(0))) else {
        return Err(too_wide(precision, scale));
    };
    match digits {
        digits if digits <= DIGITS_128 => Ok(cells::decimal128(narrow, behind)),
        digits if digits <= DIGITS_256 => Ok(cells::decimal256(narrow, behind)),
        _ => Err(too_wide(precision, scale)),
    }
}

fn too_wide(precision: i32, scale: i32) -> String {
    format!("is `numeric({precision},{scale})`, and the widest decimal has {DIGITS_256} digits")
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn numeric(precision: i32, scale: i32) -> Result<DataType, String> {
        cells_of(&Type::NUMERIC, ((precision << 16) | (scale & 0x7ff)) + 4).map(|cells| cells.data_type())
    }

    #[test]
    fn decimals_are_as_wide_as_their_digits() {
        assert_eq!(numeric(10, 2), Ok(DataType::Decimal128(10, 2)));
        assert_eq!(numeric(38, 38), Ok(DataType::Decimal128(38, 38)));
        assert_eq!(numeric(39, 0), Ok(DataType::Decimal256(39, 0)));
        assert_eq!(numeric(76, 76), Ok(DataType::Decimal256(76, 76)));
        assert_eq!(numeric(5, -3), Ok(DataType::Decimal128(8, 0)));
        assert_eq!(numeric(3, 5), Ok(DataType::Decimal128(5, 5)));
        assert!(numeric(77, 0).unwrap_err().contains("76 digits"));
        assert!(numeric(1000, -1000).unwrap_err().contains("numeric(1000,-1000)"));
        assert!(cells_of(&Type::NUMERIC, -1).err().unwrap().contains("without precision"));
        assert!(cells_of(&Type::NUMERIC_ARRAY, -1).err().unwrap().contains("without precision"));
    }
}
