//! What a text of SQL is for, as far as its first word says.

/// First words of statements that change something.
const MODIFYING: [&str; 9] =
    ["INSERT", "REPLACE", "UPDATE", "DELETE", "TRUNCATE", "CREATE", "DROP", "ALTER", "MERGE"];

/// Whether a statement is one for [`Cache::execute`](crate::Cache::execute), by its first word, behind blanks and comments;
/// all others are for [`Cache::sql`](crate::Cache::sql). For programs that are given statements and do not know them. It does
/// not say that the statement is right, or supported.
///
/// ```
/// assert!(pillion::modifies("-- a new row\nINSERT INTO items VALUES (1)"));
/// assert!(!pillion::modifies("SELECT * FROM items"));
/// ```
pub fn modifies(text: &str) -> bool {
    let text = first_word(text);
    let end = text.find(|sign: char| !sign.is_ascii_alphabetic()).unwrap_or(text.len());
    MODIFYING.iter().any(|word| text[..end].eq_ignore_ascii_case(word))
}

/// The text from its first word on.
fn first_word(mut text: &str) -> &str {
    loop {
        text =
            text.trim_start_matches(|sign: char| sign.is_whitespace() || sign == '\u{feff}' || sign == ';');
        if let Some(comment) = text.strip_prefix("--") {
            text = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if text.starts_with("/*") {
            text = behind_comment(text);
        } else {
            return text;
        }
    }
}

/// The text behind the comment that it begins with; comments nest.
fn behind_comment(text: &str) -> &str {
    let (mut depth, mut rest) = (0_usize, text);
    loop {
        let Some(at) = rest.find(['/', '*']) else { return "" };
        rest = &rest[at..];
        if let Some(inside) = rest.strip_prefix("/*") {
            (depth, rest) = (depth + 1, inside);
        } else if let Some(behind) = rest.strip_prefix("*/") {
            (depth, rest) = (depth - 1, behind);
            if depth == 0 {
                return rest;
            }
        } else {
            rest = &rest[1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_decides() {
        for text in [
            "INSERT INTO t VALUES (1)",
            " \n\tupdate t SET a = 1",
            "\u{feff}delete from t",
            "-- SELECT\n--\nTruncate t",
            "/* a /* nested */ SELECT */ DROP TABLE t",
            ";; CREATE TABLE t (a INT)",
            "/**/merge into t",
            "REPLACE INTO t VALUES (1)",
            "ALTER TABLE t ADD COLUMN a INT",
        ] {
            assert!(modifies(text), "{text}");
        }
        for text in [
            "",
            "--",
            "/* INSERT",
            "/* a /* b */ INSERT INTO t",
            "SELECT 'INSERT'",
            "EXPLAIN DELETE FROM t",
            "WITH t AS (SELECT 1) SELECT * FROM t",
            "insertion",
            "-- INSERT INTO t VALUES (1)",
            "(SELECT 1)",
            "/",
        ] {
            assert!(!modifies(text), "{text}");
        }
    }
}
