//! Parameters of statements, as JSON has them.

use pillion::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::problem::Problem;

/// The most digits of a decimal.
const DIGITS_MAX: usize = 38;

/// A value whose type is named, for what JSON has no form of.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Named {
    Int(String),
    Uint(String),
    Float(String),
    Decimal(String),
    Text(String),
    Bytes(String),
}

/// A parameter: `null`, `true`, a number, a text, or an object that names a type, such as `{"decimal": "1.20"}`.
///
/// Whole numbers are integers, others are floats. A text becomes a date, a time or a timestamp where the statement compares it
/// with one.
///
/// # Errors
/// 400 with the number of the parameter.
pub(crate) fn parameter(number: usize, raw: &RawValue) -> Result<Value, Problem> {
    let text = raw.get();
    let parsed = match text.as_bytes().first() {
        Some(b'n') => Ok(Value::Null),
        Some(b't' | b'f') => Ok(Value::Bool(text == "true")),
        Some(b'"') => serde_json::from_str(text).map(Value::Str).map_err(|error| error.to_string()),
        Some(b'{') => {
            let named: Result<Named, _> = serde_json::from_str(text);
            named.map_err(|error| error.to_string()).and_then(value)
        }
        Some(b'[') => Err("lists are no parameters".to_owned()),
        _ => json_number(text),
    };
    parsed.map_err(|why| {
        let message = format!("parameter ${number}: {why}");
        Problem::bad_request("InvalidParameter", message).hint(
            "a parameter is null, true, a number, a text, or one of {\"int\": \"…\"}, {\"uint\": \"…\"}, {\"float\": \"…\"}, {\"decimal\": \"…\"}, {\"text\": \"…\"} and {\"bytes\": \"00ff\"}",
        )
    })
}

fn json_number(text: &str) -> Result<Value, String> {
    if text.contains(['.', 'e', 'E']) {
        return float(text);
    }
    whole(text)
        .ok_or_else(|| format!("{text} is too large for an integer; write {{\"decimal\": \"{text}\"}}"))
}

fn whole(text: &str) -> Option<Value> {
    text.parse().map(Value::Int).or_else(|_| text.parse().map(Value::UInt)).ok()
}

fn float(text: &str) -> Result<Value, String> {
    text.parse().map(Value::Float).map_err(|_| format!("`{text}` is not a number"))
}

fn value(named: Named) -> Result<Value, String> {
    match named {
        Named::Int(text) => text.parse().map(Value::Int).map_err(|_| format!("`{text}` is not an integer")),
        Named::Uint(text) => {
            text.parse().map(Value::UInt).map_err(|_| format!("`{text}` is not an unsigned integer"))
        }
        Named::Float(text) => float(&text),
        Named::Decimal(text) => decimal(&text).ok_or_else(|| {
            format!("`{text}` is not a decimal of at most {DIGITS_MAX} digits, such as -12.50")
        }),
        Named::Text(text) => Ok(Value::Str(text)),
        Named::Bytes(text) => {
            hex(&text).map(Value::Bytes).ok_or_else(|| "bytes are pairs of hexadecimal digits".to_owned())
        }
    }
}

/// Bytes as pairs of hexadecimal digits, as everywhere in Pillion.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(16 * digit(*high)? + digit(*low)?),
        _ => None,
    };
    pairs.map(byte).collect()
}

fn digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

fn decimal(text: &str) -> Option<Value> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || all.len() > DIGITS_MAX || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unscaled: i128 = all.parse().ok()?;
    Some(Value::Decimal { unscaled: sign * unscaled, scale: i8::try_from(fraction.len()).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Value, Problem> {
        parameter(1, &RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn json_becomes_the_values_of_the_interface() {
        let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
        for (json, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("-7", Value::Int(-7)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("18446744073709551615", Value::UInt(u64::MAX)),
            ("1.5", Value::Float(1.5)),
            ("1e3", Value::Float(1000.0)),
            ("\"a\\nb\"", Value::Str("a\nb".to_owned())),
            ("{\"int\": \"5\"}", Value::Int(5)),
            ("{\"uint\": \"5\"}", Value::UInt(5)),
            ("{\"float\": \"-inf\"}", Value::Float(f64::NEG_INFINITY)),
            ("{\"decimal\": \"-12.50\"}", decimal(-1250, 2)),
            ("{\"decimal\": \"0.001\"}", decimal(1, 3)),
            ("{\"decimal\": \"99999999999999999999999999999999999999\"}", decimal(10_i128.pow(38) - 1, 0)),
            ("{\"text\": \"{}\"}", Value::Str("{}".to_owned())),
            ("{\"bytes\": \"00Ff\"}", Value::Bytes(vec![0, 255])),
        ] {
            assert_eq!(read(json).unwrap(), value, "{json}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for json in [
            "[1]",
            "18446744073709551616",
            "{}",
            "{\"date\": \"2013-01-01\"}",
            "{\"int\": 5}",
            "{\"int\": \"5\", \"uint\": \"5\"}",
            "{\"decimal\": \"1.2.3\"}",
            "{\"decimal\": \"\"}",
            "{\"decimal\": \"999999999999999999999999999999999999999\"}",
            "{\"bytes\": \"0\"}",
            "{\"bytes\": \"+1\"}",
        ] {
            assert!(read(json).unwrap_err().document()["detail"].as_str().unwrap().contains("$1"), "{json}");
        }
    }
}
