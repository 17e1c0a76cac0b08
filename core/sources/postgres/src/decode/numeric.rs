//! Numbers of any number of digits, which the server sends as digits to the base 10,000.

use arrow::datatypes::i256;

use super::Fault;

const NEGATIVE: u16 = 0x4000;
const POSITIVE: u16 = 0;

/// The integers in which decimals are kept.
pub(crate) trait Unscaled: Copy + Sized {
    fn of(small: i64) -> Self;
    /// `self * factor + digit`, if that fits.
    fn push(self, factor: i64, digit: i64) -> Option<Self>;
    fn negated(self) -> Self;
    /// Whether it is below 10 to the power of `digits`; it is not negative.
    fn has_at_most(self, digits: u8) -> bool;
}

impl Unscaled for i128 {
    fn of(small: i64) -> Self {
        small.into()
    }

    fn push(self, factor: i64, digit: i64) -> Option<Self> {
        self.checked_mul(factor.into())?.checked_add(digit.into())
    }

    fn negated(self) -> Self {
        -self
    }

    fn has_at_most(self, digits: u8) -> bool {
        self < 10_i128.pow(digits.into())
    }
}

impl Unscaled for i256 {
    fn of(small: i64) -> Self {
        Self::from_i128(small.into())
    }

    fn push(self, factor: i64, digit: i64) -> Option<Self> {
        self.checked_mul(Self::of(factor))?.checked_add(Self::of(digit))
    }

    fn negated(self) -> Self {
        self.wrapping_neg()
    }

    fn has_at_most(self, digits: u8) -> bool {
        Self::of(10).checked_pow(digits.into()).is_some_and(|limit| self < limit)
    }
}

/// The number without its point, in a column of `precision` digits of which `scale` stand behind the point.
pub(crate) fn unscaled<N: Unscaled>(bytes: &[u8], precision: u8, scale: u8) -> Result<N, Fault> {
    let (header, digits) = bytes.split_at_checked(8).ok_or("has a number without a header")?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (count, weight, sign) = (usize::from(word(0)), word(2).cast_signed(), word(4));
    if sign != NEGATIVE && sign != POSITIVE {
        return Err("holds NaN or an infinity, which a decimal cannot hold".to_owned());
    }
    if digits.len() != count * 2 {
        return Err("has a number of another length than it says".to_owned());
    }
    let too_long = || format!("has a number beyond {precision} digits, {scale} of them behind the point");

    let mut number = N::of(0);
    // The power of ten of the last digit so far, counted from the last digit that the column holds.
    let mut power = (i32::from(weight) + 1) * 4 + i32::from(scale);
    for pair in digits.chunks_exact(2) {
        let digit = i64::from(u16::from_be_bytes([pair[0], pair[1]]));
        power -= 4;
        number = match power {
            0.. => number.push(10_000, digit),
            // The digits of the column end inside of this one; the rest of it is zero.
            -3..0 => {
                let dropped = 10_i64.pow(power.unsigned_abs());
                if digit % dropped != 0 {
                    return Err(too_long());
                }
                number.push(10_000 / dropped, digit / dropped)
            }
            _ if digit == 0 => Some(number),
            _ => None,
        }
        .ok_or_else(too_long)?;
    }
    // Zeros at the end are not sent. A number of no digits is zero, wherever its point.
    for _ in 0..if digits.is_empty() { 0 } else { power.max(0) } {
        number = number.push(10, 0).ok_or_else(too_long)?;
    }
    if !number.has_at_most(precision) {
        return Err(too_long());
    }
    Ok(if sign == NEGATIVE { number.negated() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let words = [digits.len() as u16, weight.cast_unsigned(), sign, 0];
        words.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    fn both(bytes: &[u8], precision: u8, scale: u8) -> Result<i128, Fault> {
        let small = unscaled::<i128>(bytes, precision, scale);
        let large = unscaled::<i256>(bytes, precision, scale);
        assert_eq!(small.clone().map(i256::from_i128), large);
        small
    }

    #[test]
    fn digits_stand_where_the_weight_says() {
        assert_eq!(both(&sent(0, 0, &[12, 3400]), 10, 2), Ok(1234)); // 12.34
        assert_eq!(both(&sent(0, 0x4000, &[12, 3400]), 10, 4), Ok(-123_400));
        assert_eq!(both(&sent(2, 0, &[5]), 10, 0), Ok(500_000_000));
        assert_eq!(both(&sent(-2, 0, &[1]), 10, 8), Ok(1)); // 0.00000001
        assert_eq!(both(&sent(-1, 0, &[1000]), 3, 1), Ok(1)); // 0.1
        assert_eq!(both(&sent(0, 0, &[]), 5, 2), Ok(0));
        assert_eq!(both(&sent(30, 0, &[]), 5, 2), Ok(0));
        let nines = both(&sent(9, 0, &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]), 38, 0);
        assert_eq!(nines, Ok(10_i128.pow(38) - 1));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(both(&sent(0, 0xC000, &[]), 5, 2).unwrap_err().contains("NaN"));
        assert!(both(&sent(0, 0, &[12, 3450]), 10, 2).unwrap_err().contains("10 digits"));
        assert!(both(&sent(0, 0, &[1000]), 3, 0).unwrap_err().contains("3 digits"));
        assert!(both(&sent(0, 0, &[1, 0, 1]), 10, 2).is_err());
        assert!(both(&sent(i16::MAX, 0, &[1]), 38, 0).is_err());
        assert!(both(&sent(0, 0, &[1])[..9], 5, 0).unwrap_err().contains("length"));
        assert!(both(&[0; 7], 5, 0).unwrap_err().contains("header"));
    }
}
