//! Random statements over the tables `t` and `u`.

use arrow::array::Array;
use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::rows::{Rows, types, values};
use crate::test_random::Random;

/// A statement and what of its answer is compared.
#[derive(Debug)]
pub(super) struct Statement {
    /// Without ORDER BY, LIMIT and OFFSET.
    pub(super) text: String,
    pub(super) order: Option<Order>,
}

/// The order of an answer, by all of its columns, and the rows of it that are wanted.
#[derive(Debug)]
pub(super) struct Order {
    /// Columns, each with what follows its name in ORDER BY.
    pub(super) columns: Vec<(String, &'static str)>,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl Statement {
    /// The text that the cache gets.
    pub(super) fn whole(&self) -> String {
        let Some(Order { columns, offset, limit }) = &self.order else { return self.text.clone() };
        let columns: Vec<String> =
            columns.iter().map(|(name, direction)| format!("{name}{direction}")).collect();
        format!("{} ORDER BY {} LIMIT {limit} OFFSET {offset}", self.text, columns.join(", "))
    }
}

const SQL_TYPES: [&str; 13] = [
    "BOOLEAN",
    "SMALLINT",
    "INT",
    "BIGINT",
    "INT UNSIGNED",
    "REAL",
    "DOUBLE",
    "DECIMAL(12, 1)",
    "VARCHAR",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
];

const COMPARISONS: [&str; 8] = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"];

const PATTERNS: [&str; 12] =
    ["a%", "ab%", "ab", "%b%", "a_c", "", "%", "2013%", "ab\\%%", "Z_rich", "\u{10FFFF}%", "1%5"];

/// A random statement.
pub(super) fn statement(random: &mut Random, t: &Rows, u: &Rows) -> Statement {
    let plain = |text: String| Statement { text, order: None };
    let filter =
        if random.percent(80) { format!(" WHERE {}", condition(random, t, "", 2)) } else { String::new() };
    match random.below(10) {
        0 | 1 => plain(format!("SELECT count(*), count({}) FROM t{filter}", name(random, t))),
        2 => plain(format!("SELECT {}, {} FROM t{filter}", name(random, t), name(random, t))),
        3 => {
            let (min, max) = (name(random, t), name(random, t));
            plain(format!("SELECT min({min}), max({max}), count(*) FROM t{filter}"))
        }
        4 => {
            let group = some_names(random, t);
            plain(format!("SELECT {group}, count(*), max(id) FROM t{filter} GROUP BY {group}"))
        }
        5 => {
            let names = some_names(random, t);
            let statement = plain(format!("SELECT DISTINCT {names} FROM t{filter}"));
            if random.percent(50) { statement } else { ordered(random, statement, &names) }
        }
        6 => {
            let names = some_names(random, t);
            ordered(random, plain(format!("SELECT {names} FROM t{filter}")), &names)
        }
        7 => {
            let (by, order) = (name(random, t), some_names(random, t));
            let function = random.pick(&["rank()", "dense_rank()", "count(*)", "max(id)"]);
            plain(format!(
                "SELECT id, {function} OVER (PARTITION BY {by} ORDER BY {order}) AS w FROM t{filter}"
            ))
        }
        8 => join(random, t, u),
        _ => key_join(random, t, u),
    }
}

/// A join of few rows with all of `t` on what may be its key.
fn key_join(random: &mut Random, t: &Rows, u: &Rows) -> Statement {
    let kind = random.pick(&[
        "JOIN",
        "LEFT JOIN",
        "RIGHT JOIN",
        "LEFT SEMI JOIN",
        "LEFT ANTI JOIN",
        "RIGHT SEMI JOIN",
        "RIGHT ANTI JOIN",
    ]);
    let (first, few) = (random.below(40), random.below(9));
    let small = format!(
        "(SELECT *, CAST(id * 3 AS BIGINT) AS k FROM u WHERE id BETWEEN {first} AND {})",
        first + few
    );
    let filter = if random.percent(50) {
        format!("(SELECT * FROM t WHERE {})", condition(random, t, "", 1))
    } else {
        "t".to_owned()
    };
    let more = match random.percent(30) {
        true => format!(" AND s.id {} b.id", random.pick(&["<", "<>", ">="])),
        false => String::new(),
    };
    let columns = match *kind {
        "LEFT SEMI JOIN" | "LEFT ANTI JOIN" => format!("s.{}, s.id", name(random, u)),
        "RIGHT SEMI JOIN" | "RIGHT ANTI JOIN" => format!("b.{}, b.id", name(random, t)),
        _ => format!("s.{} AS x, b.{} AS y, s.k, b.id", name(random, u), name(random, t)),
    };
    let text = format!("SELECT {columns} FROM {small} s {kind} {filter} b ON s.k = b.id{more}");
    Statement { text, order: None }
}

fn join(random: &mut Random, t: &Rows, u: &Rows) -> Statement {
    let left = t.column(random);
    let same: Vec<_> =
        u.schema.fields().iter().filter(|field| field.data_type() == left.data_type()).collect();
    let (left, right) = match same.as_slice() {
        [] => ("id".to_owned(), "id".to_owned()),
        same => (left.name().clone(), random.pick(same).name().clone()),
    };
    let kind =
        random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"]);
    let filter = condition(random, t, "t.", 1);
    let text = format!(
        "SELECT count(*), min(t.id), max(t.id) FROM t {kind} u ON t.{left} = u.{right} WHERE {filter}"
    );
    Statement { text, order: None }
}

fn ordered(random: &mut Random, statement: Statement, names: &str) -> Statement {
    let columns = names
        .split(", ")
        .map(|name| (name.to_owned(), *random.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"])));
    let order = Order { columns: columns.collect(), offset: random.below(30), limit: 1 + random.below(30) };
    Statement { order: Some(order), ..statement }
}

pub(super) fn name(random: &mut Random, table: &Rows) -> String {
    table.column(random).name().clone()
}

/// One to three different columns, the first ones more often, by which tables are sorted.
fn some_names(random: &mut Random, table: &Rows) -> String {
    if random.percent(30) {
        return "c0, c1".to_owned();
    }
    let mut names: Vec<String> = (0..=random.below(3)).map(|_| name(random, table)).collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

pub(super) fn condition(random: &mut Random, table: &Rows, qualifier: &str, depth: usize) -> String {
    if depth > 0 && random.percent(45) {
        let (a, b) =
            (condition(random, table, qualifier, depth - 1), condition(random, table, qualifier, depth - 1));
        return match random.below(4) {
            0 => format!("({a} OR {b})"),
            1 => format!("NOT ({a} AND {b})"),
            _ => format!("({a} AND {b})"),
        };
    }
    let field = table.column(random);
    let column = format!("{qualifier}{}", field.name());
    let (value, data_type) = operand(random, &column, field.data_type());
    match random.below(12) {
        0 => format!("{column} IS NULL"),
        1 => format!("{value} IS NOT NULL"),
        2 => format!("{value} BETWEEN {} AND {}", literal(random, &data_type), literal(random, &data_type)),
        3 | 4 => {
            let mut list: Vec<String> =
                (0..1 + random.below(4)).map(|_| literal(random, &data_type)).collect();
            // Plain DataFusion searches lists by bits, and so finds one zero only. A value that is a float makes a list of
            // floats of all.
            let floats = ["Float64", "Float32", "Float16"];
            let float = floats.into_iter().find(|float| list.iter().any(|value| value.contains(float)));
            let float =
                if data_type.is_floating() { Some(data_type.to_string()) } else { float.map(str::to_owned) };
            if let Some(float) = float {
                list.extend(["0.0", "-0.0"].map(|zero| format!("arrow_cast('{zero}', '{float}')")));
            }
            format!("{value} {}IN ({})", random.pick(&["", "NOT "]), list.join(", "))
        }
        5 => format!(
            "arrow_cast({column}, 'Utf8') {} '{}'",
            random.pick(&["LIKE", "NOT LIKE", "ILIKE"]),
            random.pick(&PATTERNS)
        ),
        6 if is_text(field.data_type()) => {
            format!("{column} {} '{}'", random.pick(&["LIKE", "NOT LIKE", "ILIKE"]), random.pick(&PATTERNS))
        }
        7 if data_type == DataType::Boolean => format!("{}{value}", random.pick(&["", "NOT "])),
        8 if data_type.is_numeric() => {
            format!("-{value} {} {}", random.pick(&COMPARISONS), literal(random, &data_type))
        }
        9 => format!("{} {} {value}", literal(random, &data_type), random.pick(&COMPARISONS)),
        _ => format!("{value} {} {}", random.pick(&COMPARISONS), literal(random, &data_type)),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A column, often cast to another type, sometimes twice, or in a function.
fn operand(random: &mut Random, column: &str, data_type: &DataType) -> (String, DataType) {
    match random.below(10) {
        0..3 => (column.to_owned(), data_type.clone()),
        3 => {
            // Its literals are numbers and texts, to which the planner casts as it thinks right.
            let target = random.pick(&SQL_TYPES);
            let cast = random.pick(&["CAST", "TRY_CAST"]);
            (format!("{cast}({column} AS {target})"), random.pick(&types()).clone())
        }
        4 => function(random, column, data_type),
        5 => {
            let first = target_of(random, data_type);
            let target = target_of(random, &first);
            (format!("{}({}({column}, '{first}'), '{target}')", cast(random), cast(random)), target)
        }
        _ => {
            let target = target_of(random, data_type);
            (format!("{}({column}, '{target}')", cast(random)), target)
        }
    }
}

/// A type to which a type can be cast.
fn target_of(random: &mut Random, data_type: &DataType) -> DataType {
    loop {
        let target = random.pick(&types()).clone();
        if can_cast_types(data_type, &target) {
            return target;
        }
    }
}

fn cast(random: &mut Random) -> &'static str {
    if random.percent(50) { "arrow_cast" } else { "arrow_try_cast" }
}

fn function(random: &mut Random, column: &str, data_type: &DataType) -> (String, DataType) {
    use DataType as T;
    let integer = T::Int64;
    match data_type {
        T::Timestamp(..) => match random.below(3) {
            0 => (format!("date_trunc('day', {column})"), data_type.clone()),
            1 => (format!("date_part('hour', {column})"), T::Int32),
            _ => (format!("to_unixtime({column})"), integer),
        },
        T::Utf8 | T::LargeUtf8 | T::Utf8View => {
            let function = random.pick(&["lower", "upper", "reverse", "trim"]);
            (format!("{function}({column})"), T::Utf8)
        }
        other if other.is_numeric() => match random.below(5) {
            0 => (format!("({column} / 2)"), data_type.clone()),
            1 => (format!("({column} * 0)"), data_type.clone()),
            2 => (format!("nullif({column}, {column})"), data_type.clone()),
            3 => (format!("coalesce({column}, {})", literal(random, data_type)), data_type.clone()),
            _ => (format!("({column} % 2)"), data_type.clone()),
        },
        _ => (format!("coalesce({column}, {})", literal(random, data_type)), data_type.clone()),
    }
}

/// A value of a type, now and then null or of another type.
fn literal(random: &mut Random, data_type: &DataType) -> String {
    if random.percent(4) {
        return "NULL".to_owned();
    }
    let other = random.percent(8);
    let data_type = if other { random.pick(&types()).clone() } else { data_type.clone() };
    let values = values(&data_type);
    let options = FormatOptions::new().with_display_error(true);
    let formatter = ArrayFormatter::try_new(values.as_ref(), &options).unwrap();
    let row = random.below(values.len());
    let text = formatter.value(row).to_string().replace('\'', "''");
    match &data_type {
        DataType::Utf8 => format!("'{text}'"),
        DataType::Int64 | DataType::Int32 if text != i64::MIN.to_string() => text,
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            format!("arrow_cast(X'{text}', '{data_type}')")
        }
        _ => format!("arrow_cast('{text}', '{data_type}')"),
    }
}
