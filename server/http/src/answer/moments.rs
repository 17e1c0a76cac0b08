//! Dates, times and the like in JSON: those that have no form as text fail their answer, and do not become other text.

use std::fmt::Write;
use std::mem;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;
use arrow::json::writer::NullableEncoder;
use arrow::json::{Encoder, EncoderFactory, EncoderOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parking_lot::Mutex;

/// Encodes temporal columns at any depth. By itself, the writer of JSON would put the text of an error in the place of a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments {
    /// What the first value is that has no form.
    failed: Arc<Mutex<Option<String>>>,
}

impl Moments {
    /// What was the matter with a value of what was written since this was asked last, if anything.
    pub(crate) fn failure(&self) -> Option<String> {
        mem::take(&mut *self.failed.lock())
    }
}

impl EncoderFactory for Moments {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        if !array.data_type().is_temporal() {
            return Ok(None);
        }
        let options = FormatOptions::new().with_display_error(false);
        let encoder = MomentEncoder {
            name: field.name(),
            array,
            formatter: ArrayFormatter::try_new(array, &options)?,
            text: String::new(),
            failed: self.failed.clone(),
        };
        Ok(Some(NullableEncoder::new(Box::new(encoder), array.nulls().cloned())))
    }
}

struct MomentEncoder<'a> {
    name: &'a str,
    array: &'a dyn Array,
    formatter: ArrayFormatter<'a>,
    text: String,
    failed: Arc<Mutex<Option<String>>>,
}

impl Encoder for MomentEncoder<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        self.text.clear();
        match self.formatter.value(row).write(&mut self.text) {
            // No form of a moment has signs that JSON escapes.
            Ok(()) => {
                out.push(b'"');
                out.extend_from_slice(self.text.as_bytes());
                out.push(b'"');
            }
            Err(error) => {
                out.extend_from_slice(b"null");
                let mut failed = self.failed.lock();
                if failed.is_none() {
                    let mut message = format!(
                        "`{}` has a value of {} that no text of ISO 8601 stands for",
                        self.name,
                        self.array.data_type()
                    );
                    // Writing to a text cannot fail.
                    let _ = write!(
                        message,
                        " ({error}): ask for Arrow, or for its number with CAST or arrow_cast"
                    );
                    *failed = Some(message);
                }
            }
        }
    }
}
