//! Parts of URLs. No reason contains any part of one, because a password may stand anywhere.

/// The text with its `%XX` replaced.
///
/// # Errors
/// Why it cannot be, for a message that says what the URL is of.
pub fn decoded(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let digit = |index: usize| char::from(*tail.get(index)?).to_digit(16);
        let value = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(16 * high + low).ok());
        bytes.push(value.ok_or("two hexadecimal digits must follow `%`; write `%25` for `%`")?);
        rest = tail.get(2..).unwrap_or_default();
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    if text.contains('\0') { Err("it contains a zero byte") } else { Ok(text) }
}

/// The host of `host:port` or `[address]:port`, and the port if there is one.
pub fn host_and_port(text: &str) -> (&str, Option<&str>) {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_decoded_or_refused_with_a_reason() {
        for (text, expected) in [("", ""), ("a%20b", "a b"), ("%e2%82%AC%25", "€%"), ("x+y", "x+y")] {
            assert_eq!(decoded(text), Ok(expected.to_owned()), "{text}");
        }
        for (text, why) in [
            ("%", "hexadecimal"),
            ("%4", "hexadecimal"),
            ("%+1", "hexadecimal"),
            ("%ff", "UTF-8"),
            ("%00", "zero"),
        ] {
            assert!(decoded(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, expected) in [
            ("db", ("db", None)),
            ("db:1", ("db", Some("1"))),
            ("[::1]:1", ("::1", Some("1"))),
            ("[::1]", ("::1", None)),
            (":1", ("", Some("1"))),
        ] {
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }
}
