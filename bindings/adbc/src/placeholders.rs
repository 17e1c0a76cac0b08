//! Question marks as parameters, as DB-API writes them.

use std::borrow::Cow;

/// The same statement with `$1`, `$2`, … for each `?` outside of texts, names and comments.
pub(crate) fn numbered(text: &str) -> Cow<'_, str> {
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
