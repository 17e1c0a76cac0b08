//! Statements come through a pipe and answers go through one.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use crate::support::{Dir, MANY_ROWS, not_run};

#[test]
fn piped_statements_run_one_after_another() {
    let dir = Dir::new();
    let script = "-- a report;\nSELECT 'a;b' AS x; /* ; */\n\nSELECT count(*) AS n FROM items\n";
    assert_eq!(dir.pipe(&["sql", "--format", "csv"], script).answer(), "x\na;b\n\nn\n5\n");
    assert_eq!(dir.pipe(&["sql", "--format", "csv"], "\u{feff}SELECT 1 AS a").answer(), "a\n1\n");
}

#[test]
fn each_piped_statement_is_answered_before_the_next_is_there() {
    let dir = Dir::new();
    let mut command = dir.command(&["sql", "--format", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut answers = BufReader::new(output).lines();
    for number in 1..=3 {
        writeln!(input, "SELECT {number} AS n;").unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), format!("{{\"n\":{number}}}"));
    }
    drop(input);
    assert!(answers.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_first_failure_ends_the_statements_and_names_its_line() {
    let dir = Dir::new();
    let failed = dir.pipe(&["sql", "--format", "csv"], "SELECT 1 AS a;\n\nSELECT\n nothing;SELECT 3 AS c;");
    failed.fails(1, &["statement on line 3", "nothing"]);
    assert_eq!(failed.text(), "a\n1\n");
    let failed = dir.run(&["sql", "--format", "csv", "SELECT 1 AS a", "SELECT nothing"]);
    failed.fails(1, &["statement 2", "nothing"]);
    assert_eq!(failed.text(), "a\n1\n");
    let failed = dir.pipe(&["sql", "--format", "csv"], "SELECT 1 AS a;\nSELECT 'x;\n");
    failed.fails(1, &["a text in quotes that starts on line 2 has no end"]);
    assert_eq!(failed.text(), "a\n1\n");
}

#[test]
fn input_that_is_no_sql_is_refused() {
    let dir = Dir::new();
    dir.pipe(&["sql"], b"SELECT 1 AS a\n;SELECT '\xff'").fails(1, &["line 2 is not UTF-8"]);
    dir.pipe(&["sql"], "").fails(2, &["no statement"]);
    dir.pipe(&["sql"], "-- nothing;\n").fails(2, &["no statement"]);
}

/// The answer has billions of rows, so this ends in time only because rows are written as they come.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = Dir::with_many();
    for format in ["table", "csv", "json", "arrow"] {
        let all = "SELECT a.id, b.text FROM many a CROSS JOIN many b";
        let mut command = dir.command(&["sql", "--format", format, all]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut begin = vec![0; 1 << 20];
        child.stdout.take().unwrap().read_exact(&mut begin).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{format}");
    }
}

#[test]
fn a_large_answer_goes_through_a_pipe_whole() {
    let dir = Dir::with_many();
    let answer = dir.answer(&["sql", "--format", "csv", "SELECT id FROM many ORDER BY id"]);
    let expected: String =
        std::iter::once("id\n".to_owned()).chain((0..MANY_ROWS).map(|id| format!("{id}\n"))).collect();
    assert_eq!(answer, expected);
}

#[test]
fn a_full_device_is_an_error_to_try_again() {
    let full = "/dev/full";
    if !std::path::Path::new(full).exists() {
        return not_run(format_args!("there is no {full}"));
    }
    let dir = Dir::with_many();
    let mut command = dir.command(&["sql", "--format", "csv", "SELECT * FROM many"]);
    let device = std::fs::OpenOptions::new().write(true).open(full).unwrap();
    let output = command.stdout(device).stderr(Stdio::piped()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{errors}");
    assert!(
        errors.contains("cannot write to standard output") && errors.contains("No space left"),
        "{errors}"
    );
    dir.run(&["sql", "--format", "csv", "--output", full, "SELECT * FROM many"])
        .fails(4, &["/dev/full", "free some space"]);
}
