//! Texts as values: a text that a type cannot hold exactly is none of its values.
//!
//! Arrow's parsers do the work where they are exact. Checks beside them refuse what they would drop.

use std::borrow::Cow;
use std::sync::LazyLock;

use arrow::array::timezone::Tz;
use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type,
};
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime, string_to_time_nanoseconds};
use arrow::datatypes::{TimeUnit, i256};

use crate::types::units::per_second;

/// A value, or why the text is not one.
pub(super) type Parsed<T> = Result<T, Cow<'static, str>>;

const DAY_SECONDS: i64 = 86_400;
/// Nanoseconds of a second.
const NANOSECONDS: i64 = 1_000_000_000;
/// Bytes of a date as `2020-01-31`.
const DATE_LEN: usize = 10;
const LEAP_SECOND: &str = "it is in a leap second, which the type cannot hold";
const NOT_BYTES: &str = "it is not bytes of two hexadecimal digits each";

/// The time zone in which texts are read for a column without one.
pub(super) static UTC: LazyLock<Option<Tz>> = LazyLock::new(|| "+00:00".parse().ok());

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("it is neither `true` nor `false`".into()),
    }
}

#[inline]
pub(super) fn integer<T: Parser>(text: &str) -> Parsed<T::Native> {
    T::parse(text).ok_or_else(|| "it is not a whole number, or outside of the range of the type".into())
}

/// A type of floats: a number is rounded to its precision, and may not be beyond its range.
pub(super) trait Float: Parser {
    fn is_infinite(value: Self::Native) -> bool;
}

impl Float for Float16Type {
    fn is_infinite(value: Self::Native) -> bool {
        value.is_infinite()
    }
}

impl Float for Float32Type {
    fn is_infinite(value: f32) -> bool {
        value.is_infinite()
    }
}

impl Float for Float64Type {
    fn is_infinite(value: f64) -> bool {
        value.is_infinite()
    }
}

#[inline]
pub(super) fn float<T: Float>(text: &str) -> Parsed<T::Native> {
    let value = T::parse(text).ok_or("it is not a number")?;
    if T::is_infinite(value) && text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err("it is beyond the largest number of the type".into());
    }
    Ok(value)
}

/// A type of decimals.
pub(super) trait Decimal: ArrowPrimitiveType {
    /// The number of these decimal digits, with a sign before them. They are at most as many as the type can hold.
    fn unscaled(digits: &str) -> Option<Self::Native>;
}

impl Decimal for Decimal32Type {
    fn unscaled(digits: &str) -> Option<i32> {
        digits.parse().ok()
    }
}

impl Decimal for Decimal64Type {
    fn unscaled(digits: &str) -> Option<i64> {
        digits.parse().ok()
    }
}

impl Decimal for Decimal128Type {
    fn unscaled(digits: &str) -> Option<i128> {
        digits.parse().ok()
    }
}

impl Decimal for Decimal256Type {
    fn unscaled(digits: &str) -> Option<i256> {
        i256::from_string(digits)
    }
}

/// A decimal such as `-12.50` or `1.25e3`. `digits` is a buffer for its digits.
pub(super) fn decimal<T: Decimal>(
    text: &str,
    precision: u8,
    scale: i8,
    digits: &mut String,
) -> Parsed<T::Native> {
    const NONE: Cow<'static, str> = Cow::Borrowed("it is not a decimal number");
    let text = text.trim_ascii();
    let (is_negative, number) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (number, exponent) = match number.find(['e', 'E']) {
        // A large exponent is taken as it is: as many digits of the number may make up for it.
        Some(at) => (&number[..at], number[at + 1..].parse::<i64>().map_err(|_| NONE)?),
        None => (number, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() == 0 {
        return Err(NONE);
    }
    digits.clear();
    digits.push_str(if is_negative { "-" } else { "" });
    let sign_len = digits.len();
    digits.push_str(whole.trim_start_matches('0'));
    digits.push_str(if digits.len() == sign_len { fraction.trim_start_matches('0') } else { fraction });
    if digits.len() == sign_len {
        digits.push('0');
        return T::unscaled(digits).ok_or(NONE);
    }
    // The last digit stands for this power of ten of the unscaled number.
    let fraction_len = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let shift = exponent.saturating_sub(fraction_len).saturating_add(scale.into());
    let too_long = || Err(format!("it has more than {precision} digits at the scale of the type").into());
    if shift < 0 {
        let dropped = usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX);
        let zeros = digits.bytes().rev().take_while(|byte| *byte == b'0').count();
        if zeros < dropped {
            return Err(
                format!("it has more digits after the point than the scale {scale} of the type").into()
            );
        }
        digits.truncate(digits.len() - dropped);
    }
    let zeros = usize::try_from(shift.max(0)).unwrap_or(usize::MAX);
    if (digits.len() - sign_len).saturating_add(zeros) > precision.into() {
        return too_long();
    }
    digits.extend(std::iter::repeat_n('0', zeros));
    T::unscaled(digits).map_or_else(too_long, Ok)
}

/// Days since 1970, from a date or from a date and time at midnight.
pub(super) fn date32(text: &str) -> Parsed<i32> {
    if !has_time(text) {
        return Ok(Date32Type::parse(text).ok_or("it is not a date")?);
    }
    let seconds = timestamp(TimeUnit::Second, None, text)
        .map_err(|why| Cow::from(format!("{why}, and the type has no time of day")))?;
    if seconds.rem_euclid(DAY_SECONDS) != 0 {
        return Err("it has a time of day, which the type cannot hold".into());
    }
    i32::try_from(seconds.div_euclid(DAY_SECONDS)).map_err(|_| "it is not a date".into())
}

/// Milliseconds since 1970, from a date or from a date and time.
pub(super) fn date64(text: &str) -> Parsed<i64> {
    if !has_time(text) {
        return Ok(i64::from(Date32Type::parse(text).ok_or("it is not a date")?) * 1000 * DAY_SECONDS);
    }
    timestamp(TimeUnit::Millisecond, None, text)
}

/// Whether a text is a date and time. Dates alone are shorter, or have a sign before their year.
fn has_time(text: &str) -> bool {
    text.len() > DATE_LEN && text.starts_with(|ch: char| ch.is_ascii_digit())
}

/// Ticks since midnight.
pub(super) fn time(unit: TimeUnit, text: &str) -> Parsed<i64> {
    let nanoseconds = string_to_time_nanoseconds(text).map_err(|_| "it is not a time of day")?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.split(':').nth(2).is_some_and(|seconds| seconds.starts_with("60")) {
        return Err(LEAP_SECOND.into());
    }
    let tick = NANOSECONDS / per_second(unit);
    if nanoseconds % tick != 0 || is_finer_than_nanoseconds(fraction) {
        return Err(finer_than(unit));
    }
    Ok(nanoseconds / tick)
}

/// Ticks since 1970. In a column with a time zone, a text without one is a time in that zone. In a column without a
/// time zone, a text with one is refused.
#[inline]
pub(super) fn timestamp(unit: TimeUnit, zone: Option<&Tz>, text: &str) -> Parsed<i64> {
    let read = match (zone, &*UTC) {
        (Some(zone), _) | (None, Some(zone)) => string_to_datetime(zone, text),
        (None, None) => return Err("times cannot be read".into()),
    };
    let moment = read.map_err(|_| match zone {
        Some(_) => "it is not a date and time, or one that its time zone has twice or not at all",
        None => "it is not a date and time",
    })?;
    let parts = TimeParts::of(text);
    if zone.is_none() && !parts.zone.is_empty() {
        return Err("it has a time zone and the type has none".into());
    }
    if parts.seconds == "60" {
        return Err(LEAP_SECOND.into());
    }
    let tick = NANOSECONDS / per_second(unit);
    let nanoseconds = i64::from(moment.timestamp_subsec_nanos());
    if nanoseconds % tick != 0 || is_finer_than_nanoseconds(parts.fraction) {
        return Err(finer_than(unit));
    }
    let ticks =
        i128::from(moment.timestamp()) * i128::from(per_second(unit)) + i128::from(nanoseconds / tick);
    i64::try_from(ticks).map_err(|_| "it is outside of the range of the type, the years 1677 to 2262".into())
}

/// The parts behind the minutes of a date and time that Arrow can read.
pub(super) struct TimeParts<'a> {
    seconds: &'a str,
    /// Digits of a fraction of a second.
    pub(super) fraction: &'a str,
    pub(super) zone: &'a str,
}

impl<'a> TimeParts<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        // `2020-01-31T10:00:00` or `2020-01-31 100000`.
        let seconds_start = if text.as_bytes().get(13) == Some(&b':') { 17 } else { 15 };
        let seconds = text.get(seconds_start..seconds_start + 2).unwrap_or_default();
        let rest = text.get(seconds_start + 2..).unwrap_or_default();
        let behind = rest.strip_prefix('.').unwrap_or("");
        let fraction_len = behind.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, zone) = match fraction_len {
            0 => ("", rest),
            len => behind.split_at(len),
        };
        Self { seconds, fraction, zone }
    }
}

/// Bytes, each as two hexadecimal digits.
pub(super) fn bytes(text: &str, bytes: &mut Vec<u8>) -> Parsed<()> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    bytes.clear();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    for [high, low] in pairs {
        match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(NOT_BYTES.into()),
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(NOT_BYTES.into()) }
}

/// Whether a fraction has digits beyond the nine that Arrow's parsers read.
fn is_finer_than_nanoseconds(fraction: &str) -> bool {
    fraction.bytes().skip(9).any(|digit| digit != b'0')
}

fn finer_than(unit: TimeUnit) -> Cow<'static, str> {
    format!(
        "it is finer than the {} of the type",
        match unit {
            TimeUnit::Second => "seconds",
            TimeUnit::Millisecond => "milliseconds",
            TimeUnit::Microsecond => "microseconds",
            TimeUnit::Nanosecond => "nanoseconds",
        }
    )
    .into()
}
