//! Statements that grow: each step puts more into what it was given, and all steps may follow each other.
//!
//! The fuzz target in `fuzz/statements` uses this file too.

use std::fmt::Write;

/// Where choices come from.
pub(crate) trait Choices {
    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64;
}

/// Makes statements over the table `t` of numbers `id` and texts `name`.
pub(crate) struct Grammar<C> {
    choices: C,
}

impl<C: Choices> Grammar<C> {
    pub(crate) fn new(choices: C) -> Self {
        Self { choices }
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.choices.below(of.len() as u64)).unwrap()]
    }

    fn number(&mut self) -> u64 {
        10_u64.pow(u32::try_from(self.choices.below(10)).unwrap()) * (1 + self.choices.below(9))
    }

    fn text(&mut self, depth: u64) -> String {
        if depth == 0 {
            return self.pick(&["x", "name", "'a'", "'äöü'", "'%c'", "cast(id AS varchar)"]).to_owned();
        }
        let other = self.choices.below(depth);
        let (a, b) = (self.text(depth - 1), self.text(other));
        match self.choices.below(14) {
            0 => format!("repeat({a}, {})", self.number()),
            1 => format!("replace({a}, {b}, {a})"),
            2 => format!("lpad({a}, {}, {b})", self.number()),
            3 => format!("rpad({a}, {})", self.number()),
            4 => format!("concat({a}, {b}, {a})"),
            5 => format!("concat_ws({a}, {b}, {a}, {b})"),
            6 => format!("({a} || {b})"),
            7 => format!("regexp_replace({a}, '[a-m]|{}', {b}, 'g')", "(".repeat(2) + "x" + &")".repeat(2)),
            8 => format!("translate({a}, 'ab', {b})"),
            9 => format!("overlay({a} PLACING {b} FROM 1)"),
            10 => format!("CASE WHEN {a} > {b} THEN {a} ELSE {b} END"),
            11 => format!("to_char(now(), {a})"),
            12 => format!(
                "arrow_cast({a}, '{}')",
                self.pick(&["LargeUtf8", "Utf8View", "List(Utf8)", "Decimal(1"])
            ),
            _ => format!("coalesce(nullif({a}, {b}), left({a}, {}))", self.number()),
        }
    }

    /// The next statement.
    pub(crate) fn statement(&mut self) -> String {
        let steps = 1 + self.choices.below(12);
        let mut text = "WITH q0 AS (SELECT id, name AS x, name FROM t)".to_owned();
        for n in 1..=steps {
            let (from, depth) = (format!("q{}", n - 1), self.choices.below(3));
            let made = self.text(depth);
            let step = match self.choices.below(8) {
                0 => format!("SELECT max(id) AS id, max({made}) AS x, name FROM {from} GROUP BY name"),
                1 => format!("SELECT id, {made} AS x, name FROM {from} WHERE {} > 'a'", self.text(1)),
                2 => {
                    format!("SELECT a.id, a.x || b.x AS x, a.name FROM {from} a JOIN {from} b ON a.id = b.id")
                }
                3 => format!("SELECT id, max({made}) OVER (ORDER BY id) AS x, name FROM {from}"),
                4 => format!("SELECT id, string_agg(name, x) OVER (ORDER BY id) AS x, name FROM {from}"),
                5 => format!("SELECT id, x, name FROM {from} UNION ALL SELECT id, {made}, name FROM {from}"),
                _ => format!("SELECT id, {made} AS x, name FROM {from}"),
            };
            write!(text, ", q{n} AS ({step})").unwrap();
        }
        let last = self.pick(&[
            "SELECT x FROM",
            "SELECT length(x) FROM",
            "SELECT count(*) FROM",
            "SELECT DISTINCT x FROM",
        ]);
        format!(
            "{text} {last} q{steps} {}",
            self.pick(&["", "WHERE id < 20", "WHERE x > 'b'", "LIMIT 3", "ORDER BY x"])
        )
    }
}
