//! Decimals, which the server sends as texts.

use arrow::datatypes::i256;

use super::Fault;

/// The integers in which decimals are kept.
pub(crate) trait Unscaled: Sized {
    /// Reads a sign and digits.
    fn of(digits: &str) -> Option<Self>;
}

impl Unscaled for i128 {
    fn of(digits: &str) -> Option<Self> {
        digits.parse().ok()
    }
}

impl Unscaled for i256 {
    fn of(digits: &str) -> Option<Self> {
        Self::from_string(digits)
    }
}

/// The number without its point, in a column of `precision` digits of which `scale` stand behind the point.
pub(crate) fn unscaled<N: Unscaled>(text: &[u8], precision: u8, scale: u8) -> Result<N, Fault> {
    let wrong = || "has a decimal that is none".to_owned();
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let (sign, number) = text.strip_prefix('-').map_or(("", text), |number| ("-", number));
    let (before, behind) = number.split_once('.').unwrap_or((number, ""));
    if before.is_empty() && behind.is_empty()
        || !before.bytes().chain(behind.bytes()).all(|byte| byte.is_ascii_digit())
    {
        return Err(wrong());
    }
    let (precision, scale) = (usize::from(precision), usize::from(scale));
    let before = before.trim_start_matches('0');
    let kept = behind.get(..scale).unwrap_or(behind);
    let is_exact = behind[kept.len()..].bytes().all(|digit| digit == b'0');
    if !is_exact || before.len() + scale > precision {
        return Err(format!("has a number beyond {precision} digits, {scale} of them behind the point"));
    }
    let zeros = "0".repeat(scale - kept.len());
    N::of(&format!("{sign}0{before}{kept}{zeros}")).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str, precision: u8, scale: u8) -> Result<i128, Fault> {
        let small = unscaled::<i128>(text.as_bytes(), precision, scale);
        let large = unscaled::<i256>(text.as_bytes(), precision, scale);
        assert_eq!(small.clone().map(i256::from_i128), large);
        small
    }

    #[test]
    fn digits_stand_where_the_scale_says() {
        assert_eq!(both("12.34", 10, 2), Ok(1234));
        assert_eq!(both("-12.34", 10, 4), Ok(-123_400));
        assert_eq!(both("0000.50", 3, 1), Ok(5));
        assert_eq!(both("-0.05", 2, 2), Ok(-5));
        assert_eq!(both(".5", 2, 2), Ok(50));
        assert_eq!(both("7", 1, 0), Ok(7));
        assert_eq!(both(&"9".repeat(38), 38, 0), Ok(10_i128.pow(38) - 1));
        let widest = format!("-{}.{}", "9".repeat(35), "9".repeat(30));
        let found = unscaled::<i256>(widest.as_bytes(), 65, 30).unwrap();
        assert_eq!(found.to_string(), format!("-{}", "9".repeat(65)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(both("12.345", 10, 2).unwrap_err().contains("10 digits"));
        assert!(both("1000", 3, 0).unwrap_err().contains("3 digits"));
        for text in ["", ".", "-", "1e5", "1.2.3", "+1", "\u{661}"] {
            assert!(both(text, 10, 2).unwrap_err().contains("is none"), "{text}");
        }
    }
}
