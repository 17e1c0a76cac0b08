//! The shell of `pillion sql`, at a terminal that `script` makes.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use crate::support::{Dir, not_run};

/// A shell, and all that it showed so far.
struct Terminal {
    process: Child,
    seen: String,
    /// Up to where `seen` was looked at.
    at: usize,
}

impl Terminal {
    fn start(dir: &Dir, arguments: &str) -> Self {
        // `script` starts a shell for the command. It must not stay between: some shells, dash among them, die of the
        // Ctrl-C that their command handles.
        let command = format!("exec {} sql {arguments}", env!("CARGO_BIN_EXE_pillion"));
        let process = Command::new("script")
            .args(["-q", "-e", "-c", &command, "/dev/null"])
            .env("PILLION_URL", dir.cache())
            .env("PILLION_HISTORY", dir.path("history"))
            .env("PILLION_PAGER", "")
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .current_dir(dir.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut terminal = Self { process, seen: String::new(), at: 0 };
        terminal.wait_for("`\\q` ends it.");
        terminal.wait_for("pillion> ");
        terminal
    }

    fn press(&mut self, keys: &str) {
        self.process.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until a text is shown, and returns what was shown since the last one. The runner of the tests ends a test that
    /// waits for ever.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            if let Some(found) = self.seen[self.at..].find(text) {
                let end = self.at + found + text.len();
                let shown = self.seen[self.at..end].to_owned();
                self.at = end;
                return shown;
            }
            let read = self.process.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
            assert!(read > 0, "the shell ended before it showed {text:?}: {}", self.seen);
            self.seen += std::str::from_utf8(&bytes[..read]).unwrap();
        }
    }

    /// Enters a line and returns what is shown up to the next prompt.
    #[track_caller]
    fn enter(&mut self, line: &str) -> String {
        self.press(&format!("{line}\r"));
        // The line itself, and what the editor does while it is typed, stand before it.
        self.wait_for("\r\n");
        self.wait_for("pillion> ").replace("\r\n", "\n")
    }

    fn end(mut self) {
        self.press("\\q\r");
        self.ended();
    }

    /// Waits until the shell has ended. Its input stays open until then, so that what ends it are keys.
    #[track_caller]
    fn ended(mut self) {
        let _input = self.process.stdin.take();
        let mut rest = String::new();
        self.process.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}: {}{rest}", &self.seen[self.at..]);
    }
}

/// `None` where there is no program that makes terminals.
fn terminal(dir: &Dir, arguments: &str) -> Option<Terminal> {
    let is_there = Command::new("script").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        not_run("no `script` to make a terminal");
        return None;
    }
    Some(Terminal::start(dir, arguments))
}

#[test]
fn statements_are_answered_and_errors_do_not_end_the_shell() {
    let dir = Dir::new();
    let Some(mut shell) = terminal(&dir, "") else { return };
    let answer = shell.enter("SELECT id, name FROM items WHERE id = 1;");
    assert!(answer.contains("  1 | plain\n(1 row)\n1 row in "), "{answer}");
    assert!(shell.enter("SELECT * FROM itms;").contains("did you mean `items`?"));
    assert!(shell.enter("\\fromat csv").contains("did you mean `\\format`?"));
    shell.enter("\\format csv");
    assert!(shell.enter("\\timing off").contains("timing is off"));
    // One statement, two lines.
    shell.press("SELECT id\r");
    let answer = shell.enter("FROM items ORDER BY id DESC LIMIT 2;");
    assert!(
        answer.ends_with("id\n5\n4\n\u{1b}[?2004hpillion> ") || answer.contains("id\n5\n4\n"),
        "{answer}"
    );
    // Two statements on one line.
    let answer = shell.enter("SELECT 7 AS a; SELECT 8 AS b;");
    assert!(answer.contains("a\n7\n") && answer.contains("b\n8\n"), "{answer}");
    shell.end();
    let history = std::fs::read_to_string(dir.path("history")).unwrap();
    assert!(history.contains("SELECT id\\nFROM items") && history.contains("itms"), "{history}");
}

#[test]
fn tables_are_described_and_names_completed() {
    let dir = Dir::with_many();
    let Some(mut shell) = terminal(&dir, "") else { return };
    let tables = shell.enter("\\d");
    assert!(tables.contains(" items |") && tables.contains(" many  |"), "{tables}");
    let columns = shell.enter("\\d items");
    assert!(columns.contains(" id     | Int64") && columns.contains("5 rows in "), "{columns}");
    assert!(shell.enter("\\d nothing").contains("there is no table `nothing`"));
    shell.press("SELECT pri\t FROM ite\t WHERE i\t");
    shell.wait_for("WHERE i");
    // `i` can become `id`, `items` and words of SQL, so it stays.
    let answer = shell.enter("d = 2;");
    assert!(answer.contains("-1.25"), "{answer}");
    shell.end();
}

#[test]
fn a_statement_is_interrupted_and_the_shell_goes_on() {
    let dir = Dir::with_many();
    let Some(mut shell) = terminal(&dir, "") else { return };
    shell.press("SELECT count(*) FROM many a, many b, many c WHERE a.id + b.id + c.id = 5;\r");
    shell.wait_for("Ctrl-C ends it");
    shell.press("\u{3}");
    shell.wait_for("error: interrupted");
    shell.wait_for("pillion> ");
    // A line that is edited is given up.
    shell.press("SELECT 'no end");
    shell.wait_for("no end");
    shell.press("\u{3}");
    shell.wait_for("pillion> ");
    assert!(shell.enter("SELECT 1 + 1 AS two;").contains("  2\n(1 row)"));
    shell.press("\u{4}");
    shell.ended();
}

#[test]
fn statements_change_tables() {
    let dir = Dir::new();
    let Some(mut shell) = terminal(&dir, "") else { return };
    assert!(shell.enter("INSERT INTO items (id, name) VALUES (9, 'nine');").contains("1 row changed in "));
    assert!(shell.enter("SELECT name FROM items WHERE id = 9;").contains("nine"));
    assert!(shell.enter("INSERT INTO items (id, name) VALUES (9, 'nine');").contains("not unique"));
    // The shell holds the directory only while a statement changes something.
    dir.answer(&["sql", "DELETE FROM items WHERE id = 9"]);
    assert!(shell.enter("SELECT count(*) AS n FROM items WHERE id = 9;").contains("0\n"));
    shell.end();
}

#[test]
fn answers_go_to_files_and_statements_come_from_them() {
    let dir = Dir::new();
    let Some(mut shell) = terminal(&dir, "") else { return };
    dir.write(
        "two.sql",
        "SELECT id FROM items WHERE id = 3;\n-- the last one needs no sign\nSELECT 'x' AS y",
    );
    let answer = shell.enter("\\i two.sql");
    assert!(answer.contains("  3\n") && answer.contains(" x\n"), "{answer}");
    assert!(shell.enter("\\i missing.sql").contains("missing.sql"));
    shell.enter("\\o items.parquet");
    shell.enter("SELECT * FROM items;");
    shell.enter("\\o");
    assert!(shell.enter("SELECT 5 AS five;").contains("five"));
    shell.end();
    assert_eq!(dir.files(), ["history", "items.parquet", "two.sql"]);
    dir.answer(&["load", "again", dir.path("items.parquet").to_str().unwrap()]);
    let count = dir.answer(&["sql", "--format", "csv", "SELECT count(*) AS n FROM again"]);
    assert_eq!(count, "n\n5\n");
}
