//! One text for a row, which the server and this side write alike, and its digest.
//!
//! The text of a row is that of its columns, each followed by `|`. A null is `-`. Otherwise the text of a value is, by the type of Arrow that
//! holds it:
//!
//! | type | text |
//! | --- | --- |
//! | Boolean | `true` or `false` |
//! | Int16, Int32, Int64, UInt32 | decimal digits, with `-` before negative numbers |
//! | Decimal128, Decimal256 | decimal digits with as many behind the point as the scale says, also zeros |
//! | Float32, Float64, Date32, Time64, Timestamp, Interval | the bytes of the server's binary form, in lower-case hexadecimal digits: each bit counts, also of the zeros and of NaN |
//! | Binary | its bytes in hexadecimal digits |
//! | Utf8 | the number of its characters, `:`, the characters; blanks at the end of a `char(n)` belong to it |
//! | List | `[`, for lists that are not empty `[1:n]`, the texts of the elements, each followed by `,`, and `]` |
//!
//! So no two rows have one text. The digest is the first eight bytes of the SHA-256 of the text in UTF-8, as a signed number, the highest
//! byte first.

#![expect(clippy::big_endian_bytes, reason = "the server sends numbers so, and the digest is defined so")]

mod keys;
mod sql;
mod text;

pub(crate) use self::keys::{KeyColumn, keys_condition, range_condition, row_is_below};
pub(crate) use self::sql::digest;
pub(crate) use self::text::digests;
