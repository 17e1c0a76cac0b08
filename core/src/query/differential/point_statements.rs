//! Statements that look up keys, and statements that nearly do.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::rows::values;
use crate::test_random::Random;
use crate::types::cell::value_at;
use crate::types::value::Value;

/// Names of the columns of the key.
pub(super) const KEYS: [&str; 3] = ["k0", "K 1", "k2"];

/// A statement and what is expected of it.
#[derive(Debug)]
pub(super) struct PointStatement {
    pub(super) text: String,
    pub(super) parameters: Vec<Value>,
    /// Whether it certainly takes the point path once a statement of its shape was planned, and whether it certainly does
    /// not.
    pub(super) must: bool,
    pub(super) must_not: bool,
    /// Whether only some of its rows are wanted, and any will do.
    pub(super) is_limited: bool,
}

/// Draws statements of one shape: of the same text except for their literals.
pub(super) struct Shape<'a> {
    /// Draws what is the same in all of them; each begins with a copy.
    pub(super) shape: Random,
    pub(super) schema: &'a SchemaRef,
    /// How many columns the key has.
    pub(super) keys: usize,
    /// Whether values are parameters.
    pub(super) prepared: bool,
}

/// A statement as it is being written.
struct Writing<'a, 'r> {
    shape: Random,
    values: &'r mut Random,
    schema: &'a SchemaRef,
    keys: usize,
    prepared: bool,
    statement: PointStatement,
}

impl Shape<'_> {
    /// The next statement, with other literals.
    pub(super) fn draw(&self, values: &mut Random) -> PointStatement {
        let statement = PointStatement {
            text: String::new(),
            parameters: Vec::new(),
            must: true,
            must_not: false,
            is_limited: false,
        };
        let (shape, schema, keys, prepared) = (self.shape.clone(), self.schema, self.keys, self.prepared);
        let mut writing = Writing { shape, values, schema, keys, prepared, statement };
        writing.write();
        writing.statement
    }
}

impl Writing<'_, '_> {
    fn write(&mut self) {
        if self.shape.percent(3) {
            let text = *self.shape.pick(&[
                "SELECT count(*) FROM t",
                "select COUNT(*) AS \"N\" from T x",
                "SELECT count(1) FROM t",
            ]);
            self.statement.text = text.to_owned();
            self.statement.must = !text.ends_with("(1) FROM t");
            return;
        }
        let (from, qualifier) = *self.shape.pick(&[
            ("t", ""),
            ("t", "t."),
            ("T", ""),
            ("public.t", ""),
            ("\"t\"", "t."),
            ("t AS x", "x."),
            ("t x", ""),
            ("t x", "X."),
        ]);
        let distinct = if self.shape.percent(3) { self.never("DISTINCT ") } else { "" };
        let wanted = self.wanted(qualifier);
        // Sometimes the key is not named whole.
        let named = if self.keys > 1 && self.shape.percent(6) { self.keys - 1 } else { self.keys };
        if named < self.keys {
            self.never("");
        }
        let mut conditions: Vec<String> = (0..named).map(|key| self.condition(key, qualifier)).collect();
        match self.shape.below(16) {
            1 => {
                let again = self.condition(0, qualifier);
                conditions.push(again);
                self.perhaps();
                // It may name a key that the other one does not.
                self.statement.must_not = false;
            }
            2 | 3 => {
                let column = self.value_column();
                let column = format!("{qualifier}{column}");
                let condition = self.further(&column);
                conditions.push(condition);
                self.perhaps();
            }
            _ => {}
        }
        if self.shape.percent(30) {
            conditions.reverse();
        }
        let join = if conditions.len() > 1 && self.shape.percent(3) { self.never(" OR ") } else { " AND " };
        let order = if self.shape.percent(3) { self.never(" ORDER BY 1") } else { "" };
        let mut limit = String::new();
        if self.shape.percent(20) {
            let count = self.values.below(4);
            limit = format!(" LIMIT {count}");
            self.statement.is_limited = true;
            self.statement.must &= count > 0;
        }
        let offset = if self.shape.percent(3) { self.never(" OFFSET 1") } else { "" };
        self.statement.is_limited |= !offset.is_empty();
        let end = self.shape.pick(&["", "", ";", "\n", " "]);
        self.statement.text = format!(
            "SELECT {distinct}{wanted} FROM {from} WHERE {}{order}{limit}{offset}{end}",
            conditions.join(join)
        );
    }

    /// The statement does not take the point path, because of this.
    fn never(&mut self, why: &'static str) -> &'static str {
        self.statement.must = false;
        self.statement.must_not = true;
        why
    }

    /// The statement takes the point path or does not.
    fn perhaps(&mut self) {
        self.statement.must = false;
    }

    fn value_column(&mut self) -> String {
        let column = self.keys + self.shape.below(self.schema.fields().len() - self.keys);
        quoted(self.schema.field(column).name())
    }

    fn wanted(&mut self, qualifier: &str) -> String {
        match self.shape.below(12) {
            0..3 => "*".to_owned(),
            3 => {
                self.perhaps();
                let column = self.value_column();
                let column = format!("{qualifier}{column}");
                match self.shape.below(12) {
                    0 => self.never("count(*)").to_owned(),
                    1 => "1 AS one, k0".to_owned(),
                    2 => "k0, k0".to_owned(),
                    3 => "t.*".to_owned(),
                    4 => "k0 AS \"V 1\", k0 AS k9".to_owned(),
                    5 => format!("CAST({column} AS VARCHAR), {column} IS NULL AS n"),
                    6 => format!("{column} + 1 AS n, k0"),
                    7 => format!("{column} + 1"),
                    8 => format!("-{column} AS n, {column} * 2 AS twice, {column} % 3 AS rest"),
                    9 => format!("{column} = 5 AS b, {column} <> 'abc' AS c"),
                    10 => format!("TRY_CAST({column} AS BIGINT) AS n, NOT {column} IS NULL"),
                    _ => format!("upper(CAST({column} AS VARCHAR)) AS u"),
                }
            }
            _ => {
                let count = 1 + self.shape.below(4);
                let columns: Vec<String> = (0..count)
                    .map(|number| {
                        let column = self.shape.below(self.schema.fields().len());
                        let name = quoted(self.schema.field(column).name());
                        let name = format!("{qualifier}{name}");
                        // Two columns of one name are refused.
                        match self.shape.below(4) {
                            0 => format!("{name} AS Alias{number}"),
                            1 => format!("{name} \"Alias {number}\""),
                            2 => format!("{name} as alias_{number}"),
                            _ if number == 0 => name,
                            _ => format!("{name} x{number}"),
                        }
                    })
                    .collect();
                let separator = *self.shape.pick(&[", ", ",", " ,\n "]);
                columns.join(separator)
            }
        }
    }

    /// A condition on a column that is not of the key.
    fn further(&mut self, column: &str) -> String {
        let data_type = self.schema.field(self.keys).data_type().clone();
        match self.shape.below(14) {
            0 => format!("{column} IS NOT NULL"),
            1 => format!("{column} IS NULL"),
            2 => format!("{column} = 5"),
            3 => format!("{column} > 1"),
            4 => format!("{column} <> 'abc'"),
            5 => format!("({column} IS NULL OR {column} >= 0)"),
            6 => format!("{column} BETWEEN -1 AND 100"),
            7 => format!("{column} + 1 > 2"),
            8 => format!("CAST({column} AS VARCHAR) LIKE '2013%'"),
            9 => format!("{column} IN (5, 1)"),
            10 => format!("10 / {column} > 1"),
            11 => format!("NOT ({column} < 2)"),
            12 => format!("{column} = -0.0"),
            _ => {
                let value = self.value(&data_type);
                format!("v0 >= {value}")
            }
        }
    }

    fn condition(&mut self, key: usize, qualifier: &str) -> String {
        let field = self.schema.field(key);
        let column = format!("{qualifier}{}", quoted(field.name()));
        if field.data_type().is_floating() {
            self.never("");
        }
        match self.shape.below(10) {
            // Plain DataFusion searches lists of floats by bits.
            0 | 1 if !field.data_type().is_floating() => {
                let count = 1 + self.shape.below(4);
                let list: Vec<String> = (0..count).map(|_| self.value(field.data_type())).collect();
                format!("{column} IN ({})", list.join(", "))
            }
            2 => {
                let [first, second] = [(); 2].map(|()| self.value(field.data_type()));
                // What becomes of OR is DataFusion's choice.
                self.perhaps();
                format!("({column} = {first} OR {column} = {second})")
            }
            3 => {
                let value = self.value(field.data_type());
                format!("{value} = {column}")
            }
            4 if self.shape.percent(30) => {
                let value = self.value(field.data_type());
                let operator = self.shape.pick(&["<>", ">=", "IS NOT DISTINCT FROM"]);
                self.never("");
                format!("{column} {operator} {value}")
            }
            _ => {
                let value = self.value(field.data_type());
                let blank = self.shape.pick(&[" ", "", "  "]);
                format!("{column}{blank}={blank}{value}")
            }
        }
    }

    /// A literal or a parameter for a column of a type.
    fn value(&mut self, column: &DataType) -> String {
        let other = self.shape.percent(6);
        let data_type = if other {
            self.perhaps();
            self.shape.pick(&super::points::key_types()).clone()
        } else {
            column.clone()
        };
        let values = values(&data_type);
        let row = self.values.below(values.len());
        if self.prepared
            && self.shape.percent(90)
            && let Ok(value) = value_at(values.as_ref(), row)
        {
            let value = value.into_owned();
            self.statement.parameters.push(value);
            return format!("${}", self.statement.parameters.len());
        }
        if self.shape.percent(2) {
            self.perhaps();
            return "NULL".to_owned();
        }
        let text = text_of(&values, row);
        let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match self.shape.below(8) {
            // All types from their texts, as far as DataFusion understands these.
            0 => {
                self.statement.must &= is_text && !other;
                format!("'{text}'")
            }
            1 if data_type == DataType::Date32 => {
                self.perhaps();
                format!("DATE '{text}'")
            }
            2 if data_type.is_numeric() => {
                self.perhaps();
                (*self.shape.pick(&["5.0", "300", "-1", "9223372036854775808", "1e2", "007", "5"])).to_owned()
            }
            _ if data_type.is_integer() => {
                // Only shorter numbers are taken out of the text.
                self.statement.must &= text.len() < 18 && data_type != DataType::UInt64;
                text
            }
            _ if is_text => format!("'{text}'"),
            _ => {
                self.perhaps();
                format!("arrow_cast('{text}', '{data_type}')")
            }
        }
    }
}

fn text_of(values: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::new().with_display_error(true);
    let formatter = ArrayFormatter::try_new(values.as_ref(), &options).unwrap();
    formatter.value(row).to_string().replace('\'', "''")
}

fn quoted(name: &str) -> String {
    if name.contains(' ') { format!("\"{name}\"") } else { name.to_owned() }
}
