//! Stored numbers as decimals.

use super::Fault;

/// Digits of a decimal that a `REAL` keeps whatever they are.
const REAL_DIGITS: i32 = 15;

/// An integer as a decimal: `unscaled` / 10^`scale`.
pub(crate) fn of_integer(number: i64, precision: u8, scale: u8) -> Result<i128, Fault> {
    10_i128
        .checked_pow(scale.into())
        .and_then(|power| i128::from(number).checked_mul(power))
        .filter(|unscaled| fits(*unscaled, precision))
        .ok_or_else(too_many)
}

/// The decimal of at most 15 digits that a `REAL` is nearest to. SQLite stores decimals as such, and gives no more digits back.
pub(crate) fn of_real(number: f64, precision: u8, scale: u8) -> Result<i128, Fault> {
    if !number.is_finite() {
        return Err("is infinite".to_owned());
    }
    let shortest = format!("{number:e}");
    let (digits, exponent) = parts(&shortest).ok_or_else(too_many)?;
    let (digits, exponent) = if digits.trim_start_matches('-').len() <= REAL_DIGITS as usize {
        (digits, exponent)
    } else if exponent + i32::from(scale) < REAL_DIGITS {
        // What is behind the scale is an error of arithmetic in binary digits, if it is behind 15 digits too.
        let rounded = format!("{number:.14e}");
        parts(&rounded).ok_or_else(too_many)?
    } else {
        return Err("is a REAL that does not show all digits of a decimal".to_owned());
    };
    // The first digit stands for units of 10^exponent.
    let behind = i32::try_from(digits.trim_start_matches('-').len()).unwrap_or(i32::MAX) - 1 - exponent;
    unscaled(&digits, behind, precision, scale)
}

/// A text of digits as a decimal.
pub(crate) fn of_text(text: &str, precision: u8, scale: u8) -> Result<i128, Fault> {
    let wrong = || "is a text that is not a decimal number".to_owned();
    let (sign, plain) = match text.strip_prefix('-') {
        Some(plain) => ("-", plain),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let fraction_len = i32::try_from(fraction.len()).map_err(|_| wrong())?;
    unscaled(&format!("{sign}{all}"), fraction_len, precision, scale)
}

/// Digits without a point, and the exponent of the first of them.
fn parts(text: &str) -> Option<(String, i32)> {
    let (mantissa, exponent) = text.split_once('e')?;
    let digits = mantissa.replace('.', "");
    Some((digits, exponent.parse().ok()?))
}

/// `digits` / 10^`behind` / with `scale` digits behind the point, which must be all there are.
fn unscaled(digits: &str, behind: i32, precision: u8, scale: u8) -> Result<i128, Fault> {
    let (sign, plain) = digits.strip_prefix('-').map_or(("", digits), |plain| ("-", plain));
    let significant = plain.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let zeros = i32::try_from(plain.len() - significant.len()).map_err(|_| too_many())?;
    // How many zeros follow to reach the scale.
    let missing = i32::from(scale) - (behind - zeros);
    let missing =
        usize::try_from(missing).map_err(|_| format!("has more than {scale} digits behind the point"))?;
    let significant = significant.trim_start_matches('0');
    if significant.len().saturating_add(missing) > precision.into() {
        return Err(too_many());
    }
    format!("{sign}{significant}{:0<missing$}", "").parse().map_err(|_| too_many())
}

fn fits(unscaled: i128, precision: u8) -> bool {
    10_u128.checked_pow(precision.into()).is_none_or(|limit| unscaled.unsigned_abs() < limit)
}

fn too_many() -> Fault {
    "has more digits than its type".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_are_the_decimals_that_were_stored() {
        for (number, scale, unscaled) in [
            (12.34, 2, 1234),
            (0.1 + 0.2, 2, 30),
            (-0.05, 2, -5),
            (0.0, 2, 0),
            (-0.0, 2, 0),
            (1e10, 2, 1_000_000_000_000),
            (1e20, 0, 100_000_000_000_000_000_000),
            (123_456_789_012.34, 3, 123_456_789_012_340),
            (1.5, 10, 15_000_000_000),
        ] {
            assert_eq!(of_real(number, 38, scale), Ok(unscaled), "{number}");
        }
        // Whatever has up to 15 digits comes back as it was written.
        for unscaled in (0_i64..1_000_000_000_000_000).step_by(7_777_777_777_777) {
            let number: f64 = format!("{}.{:05}", unscaled / 100_000, unscaled % 100_000).parse().unwrap();
            assert_eq!(of_real(number, 15, 5), Ok(unscaled.into()));
        }
        for (number, precision, scale, why) in [
            (12.345, 10, 2, "behind the point"),
            (1_234_567_890_123_456.8, 38, 2, "does not show all digits"),
            (1e10, 10, 2, "more digits"),
            (f64::INFINITY, 10, 2, "infinite"),
            (1e300, 38, 0, "more digits"),
            (100_000.000_001_332_88, 20, 2, "behind the point"),
        ] {
            assert!(of_real(number, precision, scale).unwrap_err().contains(why), "{number}");
        }
    }

    #[test]
    fn integers_and_texts_are_exact() {
        assert_eq!(of_integer(-7, 3, 2), Ok(-700));
        assert!(of_integer(10, 3, 2).is_err());
        assert_eq!(of_integer(i64::MIN, 38, 19), Ok(i128::from(i64::MIN) * 10_i128.pow(19)));
        assert!(of_integer(i64::MIN, 38, 20).is_err());
        assert_eq!(of_text("-12345678901234567890.120", 38, 2), Ok(-1_234_567_890_123_456_789_012));
        assert_eq!(of_text("+.5", 5, 2), Ok(50));
        assert_eq!(of_text("007", 1, 0), Ok(7));
        for text in ["", ".", "1e5", "1.234", "1.2.3", " 1", "-", "0x1", "--1"] {
            assert!(of_text(text, 5, 2).is_err(), "{text}");
        }
    }
}
