//! Messages as bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::value::WireValue;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;

/// Deepest nesting of the values of a message. Its own fields nest less, but unknown fields are skipped, and that
/// takes stack too.
const DEPTH_MAX: usize = 64;

/// A message as the body of a frame.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(message)
        .map_err(|error| Error::internal("cannot encode a message").with_source(error))
}

/// The message in the body of a frame.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`].
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut deserializer).map_err(|error| {
        Error::new(ErrorCode::InvalidArgument, "the body is not the message of its call").with_source(error)
    })
}

/// The values of a message.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`].
pub(crate) fn values(values: Vec<WireValue>) -> Result<Vec<Value>> {
    let wrong =
        || Error::new(ErrorCode::InvalidArgument, "a value has a type that this version does not know");
    values.into_iter().map(|value| value.into_value().ok_or_else(wrong)).collect()
}
