//! Which column of Arrow holds the values of a declared type; the table in the crate's documentation says the same.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};

/// What the values of a column are, and how they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    Real,
    /// Digits in all, and those of them behind the point.
    Decimal(u8, u8),
    /// Texts.
    Text,
    /// Texts, and numbers in the form in which SQLite shows them.
    LooseText,
    /// Everything, in the form in which SQLite shows it.
    Shown,
    Blob,
    Date,
    Time,
    Timestamp(TimeUnit, Zone, Stored),
}

/// Whether a timestamp is a moment or a reading of a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    None,
    Utc,
}

/// In which forms timestamps are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// ISO texts, seconds since 1970, or Julian days: each value shows which it is.
    Any,
    /// Numbers of this unit since 1970.
    Unix(TimeUnit),
    Julian,
}

impl Kind {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Real => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale.cast_signed()),
            Self::Text | Self::LooseText | Self::Shown => DataType::Utf8,
            Self::Blob => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp(unit, Zone::None, _) => DataType::Timestamp(unit, None),
            Self::Timestamp(unit, Zone::Utc, _) => DataType::Timestamp(unit, Some(Arc::from("UTC"))),
        }
    }

    /// How messages call it.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Boolean => "BOOLEAN".to_owned(),
            Self::Integer => "INTEGER".to_owned(),
            Self::Real => "REAL".to_owned(),
            Self::Decimal(precision, scale) => format!("DECIMAL({precision},{scale})"),
            Self::Text | Self::LooseText | Self::Shown => "TEXT".to_owned(),
            Self::Blob => "BLOB".to_owned(),
            Self::Date => "DATE".to_owned(),
            Self::Time => "TIME".to_owned(),
            Self::Timestamp(.., Stored::Unix(TimeUnit::Second)) => "unix_s".to_owned(),
            Self::Timestamp(.., Stored::Unix(TimeUnit::Millisecond)) => "unix_ms".to_owned(),
            Self::Timestamp(.., Stored::Unix(TimeUnit::Microsecond)) => "unix_us".to_owned(),
            Self::Timestamp(.., Stored::Unix(TimeUnit::Nanosecond)) => "unix_ns".to_owned(),
            Self::Timestamp(.., Stored::Julian) => "julian".to_owned(),
            Self::Timestamp(_, Zone::None, _) => "TIMESTAMP".to_owned(),
            Self::Timestamp(_, Zone::Utc, _) => "TIMESTAMPTZ".to_owned(),
        }
    }
}

/// What the values of a column of a declared type are, or why nobody knows: the end of a sentence that begins with the
/// column.
pub(crate) fn kind_of(declared: &str) -> Result<Kind, String> {
    let upper = declared.to_ascii_uppercase();
    let (name, arguments) = match upper.split_once('(') {
        // What stands behind the parenthesis belongs to the name: `TIMESTAMP(3) WITH TIME ZONE`.
        Some((name, rest)) => {
            let (inside, behind) = rest.split_once(')').unwrap_or((rest, ""));
            (format!("{name} {behind}"), Some(inside))
        }
        None => (upper.clone(), None),
    };
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(match name.as_str() {
        "" => return Err("has no declared type".to_owned()),
        "BOOLEAN" | "BOOL" => Kind::Boolean,
        "DECIMAL" | "NUMERIC" | "DEC" | "NUMBER" => return decimal(declared, arguments),
        "DATE" => Kind::Date,
        "TIME" => Kind::Time,
        "TIMESTAMP" | "DATETIME" | "TIMESTAMP WITHOUT TIME ZONE" | "DATETIME WITHOUT TIME ZONE" => {
            Kind::Timestamp(unit(declared, arguments)?, Zone::None, Stored::Any)
        }
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" | "DATETIME WITH TIME ZONE" => {
            Kind::Timestamp(unit(declared, arguments)?, Zone::Utc, Stored::Any)
        }
        "JSON" | "STRING" => Kind::LooseText,
        "UUID" | "GUID" => Kind::Text,
        "BINARY" | "VARBINARY" | "BYTEA" => Kind::Blob,
        // Numbers of a unit, which no type of SQLite declares; see the option `types`.
        "UNIX_S" => moments(TimeUnit::Microsecond, Stored::Unix(TimeUnit::Second)),
        "UNIX_MS" => moments(TimeUnit::Millisecond, Stored::Unix(TimeUnit::Millisecond)),
        "UNIX_US" => moments(TimeUnit::Microsecond, Stored::Unix(TimeUnit::Microsecond)),
        "UNIX_NS" => moments(TimeUnit::Nanosecond, Stored::Unix(TimeUnit::Nanosecond)),
        "JULIAN" => moments(TimeUnit::Millisecond, Stored::Julian),
        // The rules of SQLite for the affinity of a column, in their order.
        _ if upper.contains("INT") => Kind::Integer,
        _ if ["CHAR", "CLOB", "TEXT"].iter().any(|part| upper.contains(part)) => Kind::Text,
        _ if upper.contains("BLOB") => Kind::Blob,
        _ if ["REAL", "FLOA", "DOUB"].iter().any(|part| upper.contains(part)) => Kind::Real,
        _ => return Err(format!("has the type `{declared}`, which does not say what its values are")),
    })
}

/// What SQLite makes of values that are stored in a column, as far as it matters to comparing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// Texts that look like numbers become numbers.
    Numeric,
    /// Numbers become texts.
    Text,
    /// Values stay as they are.
    None,
}

/// The rules of SQLite for the affinity of a column.
pub(crate) fn affinity_of(declared: &str) -> Affinity {
    let upper = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| upper.contains(part));
    if has(&["INT"]) {
        Affinity::Numeric
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        Affinity::Text
    } else if upper.is_empty() || has(&["BLOB"]) || upper == "ANY" {
        Affinity::None
    } else {
        Affinity::Numeric
    }
}

fn moments(unit: TimeUnit, stored: Stored) -> Kind {
    Kind::Timestamp(unit, Zone::Utc, stored)
}

/// The unit that holds so many digits behind the seconds.
fn unit(declared: &str, arguments: Option<&str>) -> Result<TimeUnit, String> {
    match arguments.map(|digits| digits.trim().parse::<u8>()) {
        None | Some(Ok(0..=6)) => Ok(TimeUnit::Microsecond),
        Some(Ok(7..=9)) => Ok(TimeUnit::Nanosecond),
        _ => Err(format!("has the type `{declared}`, whose digits behind the seconds are not 0 to 9")),
    }
}

fn decimal(declared: &str, arguments: Option<&str>) -> Result<Kind, String> {
    let Some(arguments) = arguments else {
        return Err(format!(
            "has the type `{declared}` without precision and scale, so its values fit into no decimal"
        ));
    };
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    match (precision.trim().parse(), scale.trim().parse()) {
        (Ok(precision @ 1..=DECIMAL128_MAX_PRECISION), Ok(scale)) if scale <= precision => {
            Ok(Kind::Decimal(precision, scale))
        }
        _ => Err(format!(
            "has the type `{declared}`; a decimal has 1 to {DECIMAL128_MAX_PRECISION} digits, and not more behind the point"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_have_kinds() {
        let stamp = |unit, zone| Kind::Timestamp(unit, zone, Stored::Any);
        for (declared, kind) in [
            ("INTEGER", Kind::Integer),
            ("unsigned big int", Kind::Integer),
            ("TINYINT(1)", Kind::Integer),
            ("VARCHAR(255)", Kind::Text),
            ("national varying character (10)", Kind::Text),
            ("DOUBLE PRECISION", Kind::Real),
            ("float", Kind::Real),
            ("blob", Kind::Blob),
            ("VARBINARY(16)", Kind::Blob),
            ("bool", Kind::Boolean),
            ("DECIMAL(10, 2)", Kind::Decimal(10, 2)),
            ("NUMERIC(5)", Kind::Decimal(5, 0)),
            ("date", Kind::Date),
            ("Time", Kind::Time),
            ("DATETIME", stamp(TimeUnit::Microsecond, Zone::None)),
            ("TIMESTAMP(9)", stamp(TimeUnit::Nanosecond, Zone::None)),
            ("TIMESTAMP(3) WITH TIME ZONE", stamp(TimeUnit::Microsecond, Zone::Utc)),
            ("json", Kind::LooseText),
            ("UUID", Kind::Text),
            ("unix_ms", moments(TimeUnit::Millisecond, Stored::Unix(TimeUnit::Millisecond))),
        ] {
            assert_eq!(kind_of(declared), Ok(kind), "{declared}");
        }
        for (declared, why) in [
            ("", "no declared type"),
            ("NUMERIC", "without precision"),
            ("DECIMAL(39,1)", "1 to 38 digits"),
            ("DECIMAL(2,3)", "1 to 38 digits"),
            ("DECIMAL(2,-3)", "1 to 38 digits"),
            ("MONEY", "`MONEY`"),
            ("ANY", "`ANY`"),
            ("DATETIME(12)", "0 to 9"),
        ] {
            assert!(kind_of(declared).unwrap_err().contains(why), "{declared}");
        }
    }
}
