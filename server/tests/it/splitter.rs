//! Statements are split exactly where the query engine sees their end.

use pillion_server::{Splitter, Statement, Unfinished};

use crate::support::Dir;

/// A text and its statements, each with the line that it starts on.
const CASES: &[(&str, &[(usize, &str)])] = &[
    ("", &[]),
    (" \n\t", &[]),
    (";;\n ; ", &[]),
    ("SELECT 1", &[(1, "SELECT 1")]),
    ("SELECT 1;", &[(1, "SELECT 1")]),
    ("SELECT 1 ;\nSELECT 2", &[(1, "SELECT 1"), (2, "SELECT 2")]),
    ("SELECT 1; SELECT 2;", &[(1, "SELECT 1"), (1, "SELECT 2")]),
    // Quotes, and quotes in quotes.
    ("SELECT 'a;b';x", &[(1, "SELECT 'a;b'"), (1, "x")]),
    ("SELECT 'it''s;';x", &[(1, "SELECT 'it''s;'"), (1, "x")]),
    ("SELECT \"a;\"\"b\";x", &[(1, "SELECT \"a;\"\"b\""), (1, "x")]),
    ("SELECT `a;b`;x", &[(1, "SELECT `a;b`"), (1, "x")]),
    ("SELECT '\"';SELECT \"'\"", &[(1, "SELECT '\"'"), (1, "SELECT \"'\"")]),
    ("SELECT 'two\nlines;';\nx", &[(1, "SELECT 'two\nlines;'"), (3, "x")]),
    // A backslash is an ordinary character in quotes; in E'…' it removes the special meaning of the next character.
    ("SELECT '\\';x", &[(1, "SELECT '\\'"), (1, "x")]),
    ("SELECT E'\\';';x", &[(1, "SELECT E'\\';'"), (1, "x")]),
    ("SELECT e'a''\\';';x", &[(1, "SELECT e'a''\\';'"), (1, "x")]),
    ("SELECT E'\\\\';x", &[(1, "SELECT E'\\\\'"), (1, "x")]),
    ("SELECT date'\\';x", &[(1, "SELECT date'\\'"), (1, "x")]),
    ("SELECT N'\\', X'3b', r'\\';x", &[(1, "SELECT N'\\', X'3b', r'\\'"), (1, "x")]),
    // Quotes with a delimiter.
    ("SELECT q'[it's;]';x", &[(1, "SELECT q'[it's;]'"), (1, "x")]),
    ("SELECT Q'!it's;!';x", &[(1, "SELECT Q'!it's;!'"), (1, "x")]),
    ("SELECT nq'<a';>';x", &[(1, "SELECT nq'<a';>'"), (1, "x")]),
    // Dollar quotes, and text that only looks like one.
    ("SELECT $$a;b$$;x", &[(1, "SELECT $$a;b$$"), (1, "x")]),
    ("SELECT $t$a;$$;$u$;'$t$;x", &[(1, "SELECT $t$a;$$;$u$;'$t$"), (1, "x")]),
    ("SELECT $1;SELECT $2", &[(1, "SELECT $1"), (1, "SELECT $2")]),
    ("SELECT a$b$ FROM c$;x", &[(1, "SELECT a$b$ FROM c$"), (1, "x")]),
    // Comments.
    ("SELECT 1 -- a;b\n;x", &[(1, "SELECT 1 -- a;b"), (2, "x")]),
    ("SELECT 1 /* a;b */;x", &[(1, "SELECT 1 /* a;b */"), (1, "x")]),
    ("SELECT 1 /* a /* b; */ c; */;x", &[(1, "SELECT 1 /* a /* b; */ c; */"), (1, "x")]),
    ("-- nothing;\n/* at all; */;\n", &[]),
    ("-- first\n\n/* 'second */ SELECT 1;x", &[(3, "SELECT 1"), (3, "x")]),
    ("SELECT '--';SELECT '/*';x", &[(1, "SELECT '--'"), (1, "SELECT '/*'"), (1, "x")]),
    ("SELECT 1 -- it's\n;x", &[(1, "SELECT 1 -- it's"), (2, "x")]),
    ("SELECT 2 - -1, 6 / 2;x -", &[(1, "SELECT 2 - -1, 6 / 2"), (1, "x -")]),
    ("SELECT 1 -- the end", &[(1, "SELECT 1 -- the end")]),
    // Letters of more than one byte.
    ("SELECT 'ü;漢' AS größe;\nSELECT 漢", &[(1, "SELECT 'ü;漢' AS größe"), (2, "SELECT 漢")]),
];

/// Splits a text that comes in pieces.
fn split<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Result<Vec<Statement>, Unfinished> {
    let mut splitter = Splitter::default();
    let mut statements: Vec<Statement> = pieces.into_iter().flat_map(|piece| splitter.push(piece)).collect();
    statements.extend(splitter.finish()?);
    Ok(statements)
}

fn expected(statements: &[(usize, &str)]) -> Vec<Statement> {
    statements.iter().map(|&(line, text)| Statement { text: text.to_owned(), line }).collect()
}

#[test]
fn statements_end_at_the_semicolons_between_them() {
    for (text, statements) in CASES {
        assert_eq!(split([*text]).unwrap(), expected(statements), "{text:?}");
    }
}

#[test]
fn a_text_that_comes_line_by_line_is_split_alike() {
    for (text, statements) in CASES {
        assert_eq!(split(text.split_inclusive('\n')).unwrap(), expected(statements), "{text:?}");
    }
}

#[test]
fn a_statement_is_complete_as_soon_as_its_semicolon_is_there() {
    let mut splitter = Splitter::default();
    assert_eq!(splitter.push("SELECT 1\n"), []);
    assert_eq!(splitter.pending(), "SELECT 1\n".len());
    assert_eq!(splitter.push(";\n"), expected(&[(1, "SELECT 1")]));
    assert_eq!((splitter.pending(), splitter.line()), (0, 3));
    assert_eq!(splitter.finish(), Ok(None));
}

#[test]
fn what_has_no_end_is_named_with_its_line() {
    let cases = [
        ("SELECT 1;\nSELECT 'a;\nb", "a text in quotes", 2),
        ("SELECT E'\\'", "a text in quotes", 1),
        ("SELECT\n\nq'[a'", "a text in quotes", 3),
        ("SELECT \"a", "a name in quotes", 1),
        ("SELECT `a", "a name in quotes", 1),
        ("\nSELECT $x$ a $y$", "a text in dollar quotes", 2),
        ("/* /* */", "a comment", 1),
    ];
    for (text, what, line) in cases {
        assert_eq!(split([text]), Err(Unfinished { what, line }), "{text:?}");
    }
}

#[test]
fn the_query_engine_sees_the_same_ends() {
    let dir = Dir::new();
    let cases = [
        ("'a;b'", "a;b"),
        ("'it''s;'", "it's;"),
        ("'\\'", "\\"),
        ("E'\\';'", "';"),
        ("e'a''\\';'", "a'';"),
        ("$$a;'b$$", "a;'b"),
        ("$t$a;$u$;$t$", "a;$u$;"),
        ("'a' /* ' /* ; */ ' */ || ';'", "a;"),
        ("'a' -- ';\n || 'b'", "ab"),
        ("'\";' || '--' || '/*'", "\";--/*"),
    ];
    for (expression, value) in cases {
        let input = format!("SELECT {expression} AS v;SELECT 'second' AS v");
        let answer = dir.pipe(&["sql", "--format", "json"], input).answer();
        let rows: Vec<serde_json::Value> =
            answer.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        assert_eq!(
            rows,
            [serde_json::json!({ "v": value }), serde_json::json!({ "v": "second" })],
            "{expression}"
        );
    }
}
