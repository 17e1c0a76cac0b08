//! Proofs against brute force: conditions over columns of few values are evaluated row by row, by other code and in each way in which an
//! engine may compare floats.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt8Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::compare::Comparison;
use super::decode::cells;
use super::planted::{self, Bug};
use super::predicate::Predicate;
use super::record::CoverageRecord;
use super::region::Region;
use super::rows::RowFilter;
use super::set::Cell;
use super::{Domain, tests::reading::Reading};
use crate::test_random::Random;
use crate::types::value::Value;

mod reading;

/// Cases in a run of the tests; `PILLION_COVERAGE_CASES` tries more.
const CASES: u64 = 20_000;
const SEED: u64 = 20_131_109;

/// A column: its values as an array, and as values for the other evaluation.
struct Column {
    field: Field,
    array: ArrayRef,
    values: Vec<Value>,
    /// What it is compared with: values of any unit and scale that lie on, between and beyond its own.
    literals: Vec<Value>,
}

fn ms(value: i64) -> Value {
    Value::Timestamp { value, unit: TimeUnit::Millisecond }
}

fn decimal(unscaled: i128, scale: i8) -> Value {
    Value::Decimal { unscaled, scale }
}

fn text(text: &str) -> Value {
    Value::Str(text.to_owned())
}

static COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let column = |name: &str, nullable: bool, array: ArrayRef, values: Vec<Value>, literals: Vec<Value>| {
        Column { field: Field::new(name, array.data_type().clone(), nullable), array, values, literals }
    };
    let whole = [Some(-128), Some(-1), None, Some(0), Some(1), Some(127)];
    let small = [0, 1, 2, 255];
    let prices = [None, Some(-150), Some(0), Some(100), Some(150), Some(199)];
    let floats = [
        None,
        Some(f64::NEG_INFINITY),
        Some(-1.0),
        Some(-0.0),
        Some(0.0),
        Some(1.5),
        Some(f64::INFINITY),
        Some(f64::NAN),
        Some(-f64::NAN),
    ];
    let texts = [None, Some(""), Some("a"), Some("ab"), Some("b"), Some("é"), Some("a\u{10FFFF}")];
    let truths = [None, Some(true), Some(false)];
    let times = [None, Some(-1), Some(0), Some(86_399_999), Some(86_400_000), Some(86_400_001)];
    let days = [None, Some(-1), Some(0), Some(1), Some(2)];
    let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
    let ints = vec![
        Value::Int(-129),
        Value::Int(-128),
        Value::Int(0),
        Value::UInt(1),
        Value::UInt(u64::MAX),
        Value::Int(127),
        Value::Int(2),
        decimal(5, 1),
        decimal(-10, 1),
        decimal(i128::MIN, 38),
        Value::Float(0.5),
        Value::Float(-1.0),
        Value::Float(f64::INFINITY),
        Value::Null,
    ];
    vec![
        column(
            "i",
            true,
            Arc::new(Int8Array::from(whole.to_vec())),
            whole.iter().map(|value| or_null(value.map(|value| Value::Int(value.into())))).collect(),
            ints.clone(),
        ),
        column(
            "u",
            false,
            Arc::new(UInt8Array::from(small.to_vec())),
            small.iter().map(|&value| Value::UInt(value.into())).collect(),
            ints,
        ),
        column(
            "d",
            true,
            Arc::new(Decimal128Array::from(prices.to_vec()).with_precision_and_scale(5, 2).unwrap()),
            prices.iter().map(|value| or_null(value.map(|value| decimal(value, 2)))).collect(),
            vec![
                Value::Int(1),
                Value::Int(0),
                decimal(15, 1),
                decimal(1_505, 3),
                decimal(1_995, 3),
                decimal(-2, 0),
                decimal(7, -38),
                decimal(-7, -38),
                Value::Int(i64::MAX),
                Value::Null,
            ],
        ),
        column(
            "f",
            true,
            Arc::new(Float64Array::from(floats.to_vec())),
            floats.iter().map(|value| or_null(value.map(Value::Float))).collect(),
            vec![
                Value::Float(-0.0),
                Value::Float(0.0),
                Value::Float(1.5),
                Value::Float(-0.5),
                Value::Int(0),
                Value::Int(2),
                Value::Float(f64::INFINITY),
                Value::Float(f64::NAN),
                Value::Null,
            ],
        ),
        column(
            "s",
            true,
            Arc::new(StringArray::from(texts.to_vec())),
            texts.iter().map(|value| or_null(value.map(text))).collect(),
            vec![text(""), text("a"), text("ab"), text("aa"), text("z"), text("é"), Value::Null],
        ),
        column(
            "b",
            true,
            Arc::new(BooleanArray::from(truths.to_vec())),
            truths.iter().map(|value| or_null(value.map(Value::Bool))).collect(),
            vec![Value::Bool(true), Value::Bool(false), Value::Null],
        ),
        column(
            "t",
            true,
            Arc::new(TimestampMillisecondArray::from(times.to_vec())),
            times.iter().map(|value| or_null(value.map(ms))).collect(),
            vec![
                ms(0),
                Value::Timestamp { value: 86_400, unit: TimeUnit::Second },
                Value::Timestamp { value: 86_400_000_500, unit: TimeUnit::Microsecond },
                Value::Timestamp { value: -1, unit: TimeUnit::Nanosecond },
                Value::Date(1),
                Value::Date(i32::MAX),
                Value::Null,
            ],
        ),
        column(
            "day",
            true,
            Arc::new(Date32Array::from(days.to_vec())),
            days.iter().map(|value| or_null(value.map(Value::Date))).collect(),
            vec![
                Value::Date(0),
                Value::Date(1),
                ms(1),
                ms(86_400_000),
                Value::Timestamp { value: -1, unit: TimeUnit::Second },
                Value::Timestamp { value: i64::MIN, unit: TimeUnit::Second },
                Value::Null,
            ],
        ),
    ]
});

fn domain(name: &str) -> Option<Domain> {
    COLUMNS.iter().find(|column| column.field.name() == name).and_then(|column| Domain::of(&column.field))
}

const OPERATORS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

/// A condition over some columns.
fn condition(random: &mut Random, columns: &[&Column], depth: usize, may_be_unknown: bool) -> Predicate {
    if depth > 0 && random.percent(60) {
        let parts = |random: &mut Random| {
            let count = 1 + random.below(3);
            (0..count).map(|_| condition(random, columns, depth - 1, may_be_unknown)).collect()
        };
        return match random.below(5) {
            0 | 1 => Predicate::And(parts(random)),
            2 | 3 => Predicate::Or(parts(random)),
            _ => condition(random, columns, depth - 1, may_be_unknown).negate(),
        };
    }
    let of = columns[random.below(columns.len())];
    let column = of.field.name().clone();
    let value = |random: &mut Random| of.literals[random.below(of.literals.len())].clone();
    match random.below(12) {
        0 => Predicate::IsNull { column },
        1 => Predicate::IsNull { column }.negate(),
        2 | 3 => {
            let count = random.below(4);
            Predicate::In { column, values: (0..count).map(|_| value(random)).collect() }
        }
        4 if column == "s" => {
            let prefixes = ["", "a", "ab", "é", "b"];
            Predicate::Prefix { column, prefix: prefixes[random.below(prefixes.len())].to_owned() }
        }
        5 if may_be_unknown => Predicate::Unknown,
        6 => Predicate::Constant([None, Some(true), Some(false)][random.below(3)]),
        _ => Predicate::Compare { column, operator: OPERATORS[random.below(6)], value: value(random) },
    }
}

/// What many cases gave.
#[derive(Debug, Default)]
struct Counts {
    cases: u64,
    /// A filter was shown to be inside a coverage.
    proven: u64,
    /// It was inside, and that was not shown.
    missed: u64,
    /// A condition that cannot be a coverage.
    refused: u64,
    /// Proofs of keys.
    keys: u64,
}

/// Compares one coverage and one filter with brute force.
fn check(seed: u64, counts: &mut Counts) -> Result<(), String> {
    let mut random = Random::new(&[SEED, seed]);
    let columns = &*COLUMNS;
    let of: Vec<&Column> = (0..1 + random.below(3)).map(|_| &columns[random.below(columns.len())]).collect();
    let coverage = condition(&mut random, &of, 2, false);
    let mut filter = condition(&mut random, &of, 2, true);
    // Filters that say what the coverage does, and more or less, as those of real questions do.
    filter = match random.below(4) {
        0 => Predicate::And(vec![coverage.clone(), filter]),
        1 => Predicate::Or(vec![coverage.clone(), filter]),
        2 => Predicate::And(vec![Predicate::Or(vec![filter.clone(), coverage.clone()]), filter]),
        _ => filter,
    };
    counts.cases += 1;
    let Ok(region) = Region::exactly(&coverage, &domain) else {
        counts.refused += 1;
        return Ok(());
    };
    let record = CoverageRecord::new("", coverage.to_string(), &region);
    let record = rmp_serde::from_slice::<CoverageRecord>(&rmp_serde::to_vec_named(&record).unwrap()).unwrap();
    if record.region(&domain) != Some(region.clone()) {
        return Err(format!("the region of {coverage} does not come back"));
    }
    let is_proven = region.includes(&Region::around(&filter, &domain));
    let mut is_inside = true;
    for row in rows(&of) {
        let cell = |name: &str| row.get(name).map(|(cell, _)| cell);
        let value = |name: &str| row[name].1;
        let is_held = region.contains(cell);
        let readings = Reading::ALL.map(|reading| reading.truth(&coverage, &value));
        let is_satisfied = readings.contains(&Some(true));
        if is_satisfied && !is_held {
            return Err(format!("{coverage} leaves out {row:?}"));
        }
        let has_floats = of.iter().any(|column| column.field.data_type() == &DataType::Float64);
        if is_held && !is_satisfied && !has_floats {
            return Err(format!("{coverage} holds {row:?}"));
        }
        // What is unknown may be true.
        if !is_held && Reading::ALL.iter().any(|reading| reading.may_be_true(&filter, &value)) {
            is_inside = false;
            if is_proven {
                return Err(format!("{coverage} does not cover {filter}: {row:?} is wanted"));
            }
        }
        if !random.percent(10) {
            continue;
        }
        let key = Region::of_cells(row.iter().map(|(name, (cell, _))| (*name, (*cell).clone())));
        if region.includes(&key) != is_held {
            return Err(format!("{coverage} and the key {row:?}"));
        }
        counts.keys += 1;
    }
    counts.proven += u64::from(is_proven);
    counts.missed += u64::from(is_inside && !is_proven);
    Ok(())
}

/// All rows that some columns can have.
fn rows<'a>(of: &[&'a Column]) -> Vec<BTreeMap<&'a str, (Cell, &'a Value)>> {
    let mut rows = vec![BTreeMap::new()];
    for column in of {
        if rows.first().is_some_and(|row: &BTreeMap<&str, _>| row.contains_key(column.field.name().as_str()))
        {
            continue;
        }
        let cells: Vec<(Cell, &Value)> =
            cells(column.array.as_ref()).unwrap().into_iter().zip(&column.values).collect();
        rows = rows
            .iter()
            .flat_map(|row| {
                cells.iter().map(|cell| {
                    let mut row = row.clone();
                    row.insert(column.field.name().as_str(), cell.clone());
                    row
                })
            })
            .collect();
    }
    rows
}

#[test]
fn no_wanted_row_is_outside_of_what_is_said_to_cover_it() {
    let cases = std::env::var("PILLION_COVERAGE_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let mut counts = Counts::default();
    for seed in 0..cases {
        check(seed, &mut counts).unwrap_or_else(|error| panic!("case {seed}: {error}"));
    }
    crate::test_report::add(format_args!("coverage: {counts:?}"));
    // The test means nothing if nothing is proven, and the prover is of no use if it shows little of what is so.
    assert!(counts.proven > cases / 5 && counts.proven > 5 * counts.missed, "{counts:?}");
}

#[test]
fn a_wrong_rule_is_caught() {
    for bug in [Bug::Rounded, Bug::NullInList, Bug::NullLeft, Bug::NaN] {
        let found =
            planted::with(bug, || (0..CASES).find_map(|seed| check(seed, &mut Counts::default()).err()));
        assert!(found.is_some(), "{bug:?} is not caught");
    }
}

#[test]
fn rows_are_kept_by_the_region_that_proofs_are_about() {
    let schema =
        Schema::new(vec![Field::new("f", DataType::Float64, true), Field::new("n", DataType::Int8, false)]);
    let floats = Float64Array::from(vec![Some(-0.0), Some(2.0), None, Some(f64::NAN), Some(-3.0)]);
    let numbers = Int8Array::from(vec![1, 2, 3, 4, 5]);
    let batch =
        RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(floats), Arc::new(numbers)]).unwrap();
    let condition = Predicate::Compare {
        column: "f".to_owned(),
        operator: Comparison::GreaterOrEqual,
        value: Value::Float(0.0),
    };
    let domains = |name: &str| Domain::of(schema.field_with_name(name).ok()?);
    let region = Region::exactly(&condition, &domains).unwrap();
    let kept = RowFilter::new(region.clone(), &schema).unwrap().keep(batch).unwrap();
    assert_eq!(kept.column(1).as_ref(), &Int8Array::from(vec![1, 2, 4]) as &dyn arrow::array::Array);
    let error = RowFilter::new(region, &Schema::empty()).unwrap_err();
    assert!(error.message().contains("`f`"), "{error}");
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let compared = |column: &str, value: Value| Predicate::Compare {
        column: column.to_owned(),
        operator: Comparison::Less,
        value,
    };
    let refused = |condition: &Predicate| Region::exactly(condition, &domain).unwrap_err();
    assert!(refused(&compared("s", Value::Int(5))).contains("`s < 5`"));
    assert!(refused(&compared("nothing", Value::Int(5))).contains("`nothing < 5`"));
    // As a filter it restricts nothing.
    let around = Region::around(&compared("s", Value::Int(5)).negate(), &domain);
    assert!(around.is_everything());
    // Many alternatives over two columns, none of which can be joined with another.
    let pairs = (0..127).map(|number: i64| {
        let equal = |column: &str, number: i64| Predicate::In {
            column: column.to_owned(),
            values: vec![Value::Int(number)],
        };
        Predicate::And(vec![equal("i", number), equal("u", number)])
    });
    let pairs = Predicate::Or(pairs.collect());
    assert!(refused(&pairs).contains("alternatives"));
    assert!(Region::around(&pairs, &domain).is_everything());
    let narrowed =
        Predicate::And(vec![pairs, Predicate::In { column: "i".to_owned(), values: vec![Value::Int(3)] }]);
    let three = Predicate::In { column: "i".to_owned(), values: vec![Value::Int(3), Value::Int(4)] };
    assert!(Region::exactly(&three, &domain).unwrap().includes(&Region::around(&narrowed, &domain)));
}

#[test]
fn several_cases_cover_together_what_none_covers_alone() {
    let less = |column: &str, operator, value: i64| Predicate::Compare {
        column: column.to_owned(),
        operator,
        value: Value::Int(value),
    };
    use Comparison::{Greater, LessOrEqual};
    let coverage = Predicate::Or(vec![
        Predicate::And(vec![less("i", LessOrEqual, 0), less("u", Greater, 0)]),
        Predicate::And(vec![less("i", Greater, 0), less("u", Greater, 1)]),
    ]);
    let coverage = Region::exactly(&coverage, &domain).unwrap();
    let asked = |filter: Predicate| coverage.includes(&Region::around(&filter, &domain));
    let not_null = || Predicate::IsNull { column: "i".to_owned() }.negate();
    assert!(asked(Predicate::And(vec![not_null(), less("u", Greater, 1)])));
    assert!(!asked(Predicate::And(vec![not_null(), less("u", Greater, 0)])));
    assert!(!asked(less("u", Greater, 1)), "the other column may be null");
}

#[test]
fn conditions_are_shown_as_sql() {
    let condition = Predicate::And(vec![
        Predicate::Compare { column: "t".to_owned(), operator: Comparison::GreaterOrEqual, value: ms(0) },
        Predicate::Or(vec![
            Predicate::In { column: "s".to_owned(), values: vec![text("it's"), Value::Null] },
            Predicate::IsNull { column: "s".to_owned() }.negate(),
        ]),
    ]);
    assert_eq!(
        condition.to_string(),
        "t >= '1970-01-01 00:00:00' AND (s IN ('it''s', NULL) OR s IS NOT NULL)"
    );
}

/// Compares whole or decimal numbers exactly.
fn compare_decimals((a, of_a): (i128, i8), (b, of_b): (i128, i8)) -> Ordering {
    if a.signum() != b.signum() || a == 0 {
        return a.signum().cmp(&b.signum());
    }
    // The same number of digits after the point, by digits and not by numbers, which may be too long.
    let digits = |value: i128, scale: i8| {
        let mut digits = value.unsigned_abs().to_string();
        let zeros = usize::try_from(127 - i32::from(scale)).unwrap();
        digits.push_str(&"0".repeat(zeros));
        digits
    };
    let (left, right) = (digits(a, of_a), digits(b, of_b));
    let ordering = left.len().cmp(&right.len()).then_with(|| left.cmp(&right));
    if a < 0 { ordering.reverse() } else { ordering }
}
