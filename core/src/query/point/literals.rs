//! A text of SQL with its literals taken out: texts that differ in nothing else are one statement.
//!
//! Only what is certainly a whole literal is taken out: an integer of at most 18 digits or a text in single quotes,
//! after a blank, `=`, `<`, `>`, `(` or `,`. All other bytes stay as they are. A text with anything that could change what follows,
//! such as a comment, is not taken apart.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use smallvec::SmallVec;

/// Longest text that is taken apart.
const TEXT_MAX: usize = 4 << 10;
/// Most literals that are taken out of a text.
const LITERALS_MAX: usize = 100;
/// Most digits of an integer that is taken out: it fits 64 bits whatever its sign.
const DIGITS_MAX: usize = 18;
/// Stands in a shape before the kind of a literal that was taken out.
const MARK: u8 = 0;
/// The first of the integers that stand for literals in a [probe](Template::probe).
const PROBE: i64 = 713_552_900_100_000_000;
/// How the texts begin that stand for literals in a probe.
const PROBE_TEXT: &str = "pillion-probe-";

/// A literal of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::query) enum Literal<'a> {
    Int(i64),
    Text(Cow<'a, str>),
}

/// A text, and what becomes of it when its literals are taken out.
#[derive(Debug)]
pub(in crate::query) struct Template<'a> {
    text: &'a str,
    /// The text with marks in place of its literals.
    pub(super) shape: SmallVec<[u8; 256]>,
    /// The literals in their order.
    pub(in crate::query) literals: SmallVec<[Literal<'a>; 4]>,
    places: SmallVec<[Range<usize>; 4]>,
}

impl<'a> Template<'a> {
    /// Takes the literals out of a text; `None` if it is not certain which they are.
    pub(in crate::query) fn of(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() > TEXT_MAX {
            return None;
        }
        let mut template =
            Self { text, shape: SmallVec::new(), literals: SmallVec::new(), places: SmallVec::new() };
        let (mut at, mut taken) = (0, 0);
        // Begins a literal only what follows one of these bytes, or begins the text.
        let mut previous = b' ';
        while let Some(&byte) = bytes.get(at) {
            let may_begin =
                matches!(previous, b' ' | b'\n' | b'\t' | b'\r' | b'=' | b'<' | b'>' | b'(' | b',');
            let start = at;
            let literal = match byte {
                b'\'' if may_begin => {
                    let (value, end) = quoted(text, at)?;
                    at = end;
                    // What follows a text at once may belong to it.
                    matches!(bytes.get(at), None | Some(b' ' | b'\n' | b'\t' | b'\r' | b')' | b',' | b';'))
                        .then_some(())?;
                    Some((b's', Literal::Text(value)))
                }
                b'"' => {
                    at += 2 + bytes.get(at + 1..)?.iter().position(|&byte| byte == b'"')?;
                    None
                }
                b'0'..=b'9' => {
                    let end = end_of_digits(bytes, at);
                    at = end;
                    let value = if may_begin { integer(bytes, start, end) } else { None };
                    value.map(|value| (b'i', Literal::Int(value)))
                }
                b'-' => {
                    if bytes.get(at + 1) == Some(&b'-') {
                        return None;
                    }
                    at += 1;
                    let end = end_of_digits(bytes, at);
                    let value = if may_begin { integer(bytes, start + 1, end) } else { None };
                    match value {
                        Some(value) => {
                            at = end;
                            Some((b'n', Literal::Int(-value)))
                        }
                        None => None,
                    }
                }
                b'$' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                    at = end_of_digits(bytes, at + 1);
                    None
                }
                b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
                b' '
                | b'\n'
                | b'\t'
                | b'\r'
                | b'a'..=b'z'
                | b'A'..=b'Z'
                | b'_'
                | b'.'
                | b','
                | b'('
                | b')'
                | b'='
                | b'<'
                | b'>'
                | b'+'
                | b'*'
                | b'/'
                | b';' => {
                    at += 1;
                    None
                }
                // Other quotes, escapes, comments, placeholders, and operators that need no point path.
                _ => return None,
            };
            if let Some((kind, literal)) = literal {
                if template.literals.len() == LITERALS_MAX {
                    return None;
                }
                template.shape.extend_from_slice(&bytes[taken..start]);
                template.shape.extend_from_slice(&[MARK, kind]);
                template.literals.push(literal);
                template.places.push(start..at);
                taken = at;
            }
            previous = bytes[at - 1];
        }
        template.shape.extend_from_slice(&bytes[taken..]);
        Some(template)
    }

    /// A text of the same shape with a literal of its own in each place, which tells where that literal goes; `None` if
    /// other parts of the text could be taken for one.
    pub(in crate::query) fn probe(&self) -> Option<String> {
        let mut probe = String::with_capacity(self.text.len() + 24 * self.places.len());
        let mut taken = 0;
        for (number, (literal, place)) in self.literals.iter().zip(&self.places).enumerate() {
            probe.push_str(self.text.get(taken..place.start)?);
            match probe_of(number, literal) {
                Literal::Int(value) => write!(probe, "{value}"),
                Literal::Text(value) => write!(probe, "'{value}'"),
            }
            .ok()?;
            taken = place.end;
        }
        probe.push_str(self.text.get(taken..)?);
        let shape = String::from_utf8_lossy(&self.shape);
        (!shape.contains("7135529001") && !shape.contains(PROBE_TEXT)).then_some(probe)
    }

    /// The number of the literal that an integer of the probe stands for.
    pub(super) fn literal_of_int(&self, value: i64) -> Option<usize> {
        let number = usize::try_from(value.checked_abs()?.checked_sub(PROBE)?).ok()?;
        let stands_for = probe_of(number, self.literals.get(number)?);
        (stands_for == Literal::Int(value)).then_some(number)
    }

    /// The number of the literal that a text of the probe stands for.
    pub(super) fn literal_of_text(&self, value: &str) -> Option<usize> {
        let number = value.strip_prefix(PROBE_TEXT)?.parse().ok()?;
        let stands_for = probe_of(number, self.literals.get(number)?);
        (stands_for == Literal::Text(Cow::Borrowed(value))).then_some(number)
    }
}

/// What stands for a literal in a probe: of the same kind, and with the same sign.
fn probe_of(number: usize, literal: &Literal<'_>) -> Literal<'static> {
    match literal {
        Literal::Int(value) => {
            let probe = i64::try_from(number).map_or(PROBE, |number| PROBE + number);
            Literal::Int(if *value < 0 { -probe } else { probe })
        }
        Literal::Text(_) => Literal::Text(Cow::Owned(format!("{PROBE_TEXT}{number}"))),
    }
}

fn end_of_digits(bytes: &[u8], start: usize) -> usize {
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit());
    start + digits.count()
}

/// The integer whose digits these are, if that is all of the number.
fn integer(bytes: &[u8], start: usize, end: usize) -> Option<i64> {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    if !(1..=DIGITS_MAX).contains(&(end - start)) || bytes.get(end).is_some_and(goes_on) {
        return None;
    }
    Some(bytes[start..end].iter().fold(0, |value, &digit| 10 * value + i64::from(digit - b'0')))
}

/// The text in single quotes that begins at `start`, and where it ends.
fn quoted(text: &str, start: usize) -> Option<(Cow<'_, str>, usize)> {
    let bytes = text.as_bytes();
    let (mut at, mut has_quotes) = (start + 1, false);
    loop {
        match bytes.get(at)? {
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => {
                has_quotes = true;
                at += 2;
            }
            b'\'' => break,
            b'\\' | b'\0' => return None,
            _ => at += 1,
        }
    }
    let value = text.get(start + 1..at)?;
    let value = if has_quotes { Cow::Owned(value.replace("''", "'")) } else { Cow::Borrowed(value) };
    Some((value, at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(text: &str) -> Option<Vec<Literal<'_>>> {
        Some(Template::of(text)?.literals.into_vec())
    }

    #[test]
    fn whole_literals_are_taken_out() {
        let text = "SELECT a1, \"b 2\" FROM t WHERE a1 = 7 AND \"b 2\" IN ('it''s', -8,'') AND c>=3 LIMIT 2;";
        let expected = [
            Literal::Int(7),
            Literal::Text("it's".into()),
            Literal::Int(-8),
            Literal::Text("".into()),
            Literal::Int(3),
            Literal::Int(2),
        ];
        assert_eq!(literals(text).unwrap(), expected);
        let shape = |text| Template::of(text).unwrap().shape;
        assert_eq!(shape("a = 1"), shape("a = 22"));
        assert_eq!(shape("a = 'x'"), shape("a = '7'"));
        for (one, other) in
            [("a = 1", "a = -1"), ("a = 1", "a = '1'"), ("a = 1", "A = 1"), ("a = 1", "a  = 1")]
        {
            assert_ne!(shape(one), shape(other));
        }
    }

    #[test]
    fn other_numbers_stay() {
        for text in [
            "a = 1.5",
            "a = .5",
            "a = 1e5",
            "a = 1_000",
            "a = 0x1F",
            "a = 1234567890123456789",
            "a1",
            "$1",
            "1a",
        ] {
            assert_eq!(literals(text).unwrap(), [], "{text}");
        }
        assert_eq!(literals("a = 123456789012345678").unwrap(), [Literal::Int(123_456_789_012_345_678)]);
        assert_eq!(literals("a = 7 -5").unwrap(), [Literal::Int(7), Literal::Int(-5)]);
    }

    #[test]
    fn uncertain_texts_are_left_alone() {
        let uncertain = [
            "a = 1 -- b",
            "a = 1 /* b */",
            "a = E'x'",
            "a = X'00'",
            "a = 'x",
            "a = 'x'b",
            "a = \"x",
            "a = $$x$$",
            "a = $x$ 1 $x$",
            "a = 'x\\'",
            "a = `b`",
            "a = [1]",
            "a = :b",
            "a = ?",
            "a # 1",
            "zürich = 1",
            "a = '\0'",
            "\0",
        ];
        for text in uncertain {
            assert_eq!(literals(text), None, "{text}");
        }
        assert_eq!(literals(&format!("a = '{}'", "x".repeat(TEXT_MAX))), None);
        assert_eq!(literals(&",7".repeat(LITERALS_MAX)).map(|found| found.len()), Some(LITERALS_MAX));
        assert_eq!(literals(&",7".repeat(LITERALS_MAX + 1)), None);
    }

    #[test]
    fn a_probe_tells_its_literals() {
        let text = "a = 1 AND b = -2 AND c = 'x' AND d = 'it''s'";
        let template = Template::of(text).unwrap();
        let probe = template.probe().unwrap();
        let of_probe = Template::of(&probe).unwrap();
        assert_eq!(of_probe.shape, template.shape);
        let numbers: Vec<Option<usize>> = of_probe
            .literals
            .iter()
            .map(|literal| match literal {
                Literal::Int(value) => template.literal_of_int(*value),
                Literal::Text(value) => template.literal_of_text(value),
            })
            .collect();
        assert_eq!(numbers, [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(template.literal_of_int(1), None);
        assert_eq!(template.literal_of_int(-PROBE), None, "the first is positive");
        assert_eq!(template.literal_of_int(i64::MIN), None);
        assert_eq!(template.literal_of_text("pillion-probe-9"), None);
        assert_eq!(template.literal_of_text("x"), None);
        assert_eq!(Template::of("SELECT \"pillion-probe-0\", 'x'").unwrap().probe(), None);
    }
}
