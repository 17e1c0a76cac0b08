//! Numbers as people read them.

/// A time with three significant digits.
pub(super) fn time(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", three_digits(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", three_digits(value / 1e6)),
        _ => format!("{} s", three_digits(value / 1e9)),
    }
}

/// A rate with three significant digits.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        1e6.. => format!("{} M/s", three_digits(per_second / 1e6)),
        1e3.. => format!("{} k/s", three_digits(per_second / 1e3)),
        _ => format!("{} /s", three_digits(per_second)),
    }
}

/// A number with three significant digits; whole from 100 on, and never finer than a millionth.
pub(super) fn three_digits(value: f64) -> String {
    match value {
        99.95.. => format!("{value:.0}"),
        9.995.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        0.01.. => format!("{value:.3}"),
        0.001.. => format!("{value:.4}"),
        _ => format!("{value:.6}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times =
            [0, 999, 1_000, 6_124, 99_949, 99_951, 412_300, 999_999, 12_300_000, 2_000_000_000].map(time);
        let expected = [
            "0 ns", "999 ns", "1.00 µs", "6.12 µs", "99.9 µs", "100 µs", "412 µs", "1000 µs", "12.3 ms",
            "2.00 s",
        ];
        assert_eq!(times, expected);
        assert_eq!([2_512_345.0, 167_000.0, 0.4].map(rate), ["2.51 M/s", "167 k/s", "0.40 /s"]);
        assert_eq!(
            [1.0, 0.0512, 0.001_84, 0.000_07].map(three_digits),
            ["1.00", "0.051", "0.0018", "0.000070"]
        );
    }
}
