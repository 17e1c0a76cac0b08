//! Sessions: their options are what there is one of, so that nothing is kept of them.

use std::collections::HashMap;

use prost::Message;
use tonic::Status;

use crate::catalog::{CATALOG, SCHEMA};
use crate::status;

/// The options of a session, with the only value of each.
const OPTIONS: [(&str, &str); 2] = [("catalog", CATALOG), ("schema", SCHEMA)];
/// How an option is refused: no such name, or no such value.
const INVALID_NAME: i32 = 1;
const INVALID_VALUE: i32 = 2;
/// The session is closed.
const CLOSED: i32 = 1;

// Messages of Flight.proto that `arrow-flight` does not have.

#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Float(f64),
    #[prost(message, tag = "5")]
    Texts(Texts),
}

#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SetRequest {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SetResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, SetError>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct SetError {
    #[prost(int32, tag = "1")]
    value: i32,
}

#[derive(Clone, PartialEq, Message)]
struct GetResult {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct CloseResult {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Whether an action is about a session.
pub(super) fn is_one(action: &str) -> bool {
    matches!(action, "SetSessionOptions" | "GetSessionOptions" | "CloseSession")
}

/// Its answer.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(super) fn answer(action: &str, body: &[u8]) -> Result<Vec<u8>, Status> {
    Ok(match action {
        "SetSessionOptions" => {
            let request = SetRequest::decode(body);
            let request = request.map_err(|_| status::invalid("the options of the session are damaged"))?;
            let refused = request.options.into_iter().filter_map(|(name, given)| {
                let known = OPTIONS.iter().find(|(known, _)| *known == name);
                let value = match (known, given.value) {
                    // An option without a value is taken back, which changes nothing.
                    (Some(_), None) => return None,
                    (Some((_, only)), Some(Value::Text(value))) if value == *only => return None,
                    (Some(_), _) => INVALID_VALUE,
                    (None, _) => INVALID_NAME,
                };
                Some((name, SetError { value }))
            });
            SetResult { errors: refused.collect() }.encode_to_vec()
        }
        "GetSessionOptions" => {
            let options = OPTIONS.map(|(name, only)| {
                (name.to_owned(), OptionValue { value: Some(Value::Text(only.to_owned())) })
            });
            GetResult { options: options.into() }.encode_to_vec()
        }
        _ => CloseResult { status: CLOSED }.encode_to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_catalog_and_the_schema_that_there_are() {
        let got = GetResult::decode(&*answer("GetSessionOptions", b"").unwrap()).unwrap();
        assert_eq!(got.options["schema"].value, Some(Value::Text("public".to_owned())));
        let text = |text: &str| OptionValue { value: Some(Value::Text(text.to_owned())) };
        let options = [("catalog", text("pillion")), ("schema", text("other")), ("color", text("red"))];
        let options = options.map(|(name, value)| (name.to_owned(), value)).into();
        let body = SetRequest { options }.encode_to_vec();
        let set = SetResult::decode(&*answer("SetSessionOptions", &body).unwrap()).unwrap();
        assert_eq!(set.errors.len(), 2);
        assert_eq!((set.errors["schema"].value, set.errors["color"].value), (INVALID_VALUE, INVALID_NAME));
        assert!(answer("SetSessionOptions", b"\xff").is_err());
        let closed = CloseResult::decode(&*answer("CloseSession", b"").unwrap()).unwrap();
        assert_eq!(closed.status, CLOSED);
    }
}
