//! Question marks as parameters, as DB-API writes them.

use std::borrow::Cow;

/// The same statement with `$1`, `$2`, … for each `?` outside of texts, names and comments.
pub fn numbered(text: &str) -> Cow<'_, str> {
    if !text.contains('?') {
        return Cow::Borrowed(text);
    }
    let (mut made, mut count, mut rest) = (String::with_capacity(text.len() + 8), 0_usize, text);
    while let Some(sign) = rest.chars().next() {
        if sign == '?' {
            count += 1;
            made.push_str(&format!("${count}"));
            rest = &rest[1..];
            continue;
        }
        let (taken, left) = rest.split_at(stretch(rest, sign));
        made.push_str(taken);
        rest = left;
    }
    Cow::Owned(made)
}

/// How many parameters a statement takes: the highest number behind a `$` outside of texts, names and comments.
pub fn parameters(text: &str) -> usize {
    let (mut highest, mut rest) = (0, text);
    while let Some(sign) = rest.chars().next() {
        let (taken, left) = rest.split_at(stretch(rest, sign));
        if taken == "$" {
            let len = left.bytes().take_while(u8::is_ascii_digit).count();
            highest = highest.max(left.get(..len).and_then(|number| number.parse().ok()).unwrap_or(0));
        }
        rest = left;
    }
    highest
}

/// How many bytes go together at the beginning of a text: a text in quotes, a name in quotes, a comment, or a single sign.
fn stretch(text: &str, sign: char) -> usize {
    let end = |from: usize, closing: &str| {
        let found = text.get(from..).and_then(|rest| rest.find(closing));
        found.map_or(text.len(), |at| from + at + closing.len())
    };
    match sign {
        // A doubled quote begins the next stretch at once, so it needs no case of its own.
        '\'' => end(1, "'"),
        '"' => end(1, "\""),
        '-' if text.starts_with("--") => end(2, "\n"),
        '/' if text.starts_with("/*") => end(2, "*/"),
        _ => sign.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_only_where_sql_reads_them() {
        for (text, expected) in [
            ("SELECT 1", 0),
            ("SELECT $1, $3, $2", 3),
            ("SELECT '$4', \"$5\", $1 -- $6", 1),
            ("SELECT /* $2 */ $", 0),
        ] {
            assert_eq!(parameters(text), expected, "{text}");
        }
    }

    #[test]
    fn question_marks_are_parameters_only_where_sql_reads_them() {
        for (text, expected) in [
            ("?", "$1"),
            ("a = ? AND ä = ?", "a = $1 AND ä = $2"),
            ("'it''s ?' = ?", "'it''s ?' = $1"),
            ("\"a?\" = ?", "\"a?\" = $1"),
            ("? /* ? */ ? -- ?\n?", "$1 /* ? */ $2 -- ?\n$3"),
            ("'open ?", "'open ?"),
            ("/* open ?", "/* open ?"),
            ("SELECT $1 - 1", "SELECT $1 - 1"),
        ] {
            assert_eq!(numbered(text), expected);
        }
    }
}
