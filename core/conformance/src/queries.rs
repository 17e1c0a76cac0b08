//! Queries of every common shape over one table, compared with the same question answered from plain Rust rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use pillion::{Input, TableDefinition, Value};

use crate::model::{
    assert_rows, assert_rows_in_any_order, batch, name_of, numbered, numbered_schema, rows_of, vals,
};
use crate::{Outcome, Session};

/// A row of the table `t`.
#[derive(Clone, Debug)]
struct Sale {
    id: i64,
    shop: Option<&'static str>,
    amount: Option<i64>,
}

const ROWS: i64 = 300;

fn sales() -> Vec<Sale> {
    let shops = [Some("north"), Some("south"), None, Some("east"), Some("")];
    let row = |id: i64| Sale {
        id,
        shop: shops[usize::try_from(id * 7 % 5).unwrap()],
        amount: (id % 11 != 3).then_some((id * 37) % 100 - 30),
    };
    (0..ROWS).map(row).collect()
}

/// The rows, in three segments.
fn define(session: &mut Session<'_>) -> Result<Vec<Sale>, pillion::Error> {
    let sales = sales();
    let rows = |part: &[Sale]| {
        let column = |value: fn(&Sale) -> Value| part.iter().map(value).collect();
        batch(&[
            ("id", DataType::Int64, column(|sale| sale.id.into())),
            ("shop", DataType::Utf8, column(|sale| sale.shop.into())),
            ("amount", DataType::Int64, column(|sale| sale.amount.into())),
        ])
    };
    let parts: Vec<&[Sale]> = sales.chunks(100).collect();
    session.define_keyed("t", "id", rows(parts[2]))?;
    session.append("t", rows(parts[0]))?;
    session.append("t", rows(parts[1]))?;
    Ok(sales)
}

fn lines<T>(items: impl IntoIterator<Item = T>, line: impl Fn(T) -> Vec<Value>) -> Vec<Vec<Value>> {
    items.into_iter().map(line).collect()
}

/// Columns in any order, with names and arithmetic.
pub fn columns_and_expressions(session: &mut Session<'_>) -> Outcome {
    let sales = define(session)?;
    let found = session.sql("SELECT amount * 2 - 1 AS twice, id, upper(shop) FROM t ORDER BY id", &[])?;
    assert_eq!(found.schema().field(0).name(), "twice");
    let line = |sale: &Sale| vals![sale.amount.map(|n| n * 2 - 1), sale.id, sale.shop.map(str::to_uppercase)];
    assert_rows(&found, &lines(&sales, line));
    let found = session.sql("SELECT 1 + 1, 'text', NULL", &[])?;
    assert_rows(&found, &[vals![2, "text", None::<i64>]]);
    Ok(())
}

/// Order by one and two columns, both ways, nulls first and last, with a limit and an offset.
pub fn order_limit_and_offset(session: &mut Session<'_>) -> Outcome {
    let mut sales = define(session)?;
    let line = |sale: &Sale| vals![sale.amount, sale.id];
    sales.sort_by_key(|sale| (sale.amount.is_none(), sale.amount, sale.id));
    let found = session.sql("SELECT amount, id FROM t ORDER BY amount NULLS LAST, id", &[])?;
    assert_rows(&found, &lines(&sales, line));
    let found =
        session.sql("SELECT amount, id FROM t ORDER BY amount NULLS LAST, id LIMIT 7 OFFSET 50", &[])?;
    assert_rows(&found, &lines(&sales[50..57], line));
    sales.sort_by_key(|sale| (sale.amount.is_some(), sale.amount.map(|n| -n), sale.id));
    let found = session.sql("SELECT amount, id FROM t ORDER BY amount DESC NULLS FIRST, id LIMIT 60", &[])?;
    assert_rows(&found, &lines(&sales[..60], line));
    assert_eq!(session.sql("SELECT * FROM t LIMIT 5", &[])?.num_rows(), 5);
    assert_eq!(session.sql("SELECT * FROM t LIMIT 0", &[])?.num_rows(), 0);
    assert_eq!(session.sql("SELECT * FROM t LIMIT 10000", &[])?.num_rows(), sales.len());
    Ok(())
}

/// Groups with every common aggregate, and conditions on them.
pub fn groups(session: &mut Session<'_>) -> Outcome {
    let sales = define(session)?;
    let mut groups: BTreeMap<Option<&str>, Vec<&Sale>> = BTreeMap::new();
    sales.iter().for_each(|sale| groups.entry(sale.shop).or_default().push(sale));
    let line = |(shop, group): (&Option<&'static str>, &Vec<&Sale>)| {
        let amounts: Vec<i64> = group.iter().filter_map(|sale| sale.amount).collect();
        let (sum, count) = (amounts.iter().sum::<i64>(), i64::try_from(amounts.len()).unwrap());
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let mean = sum as f64 / count as f64;
        let rows = i64::try_from(group.len()).unwrap();
        vals![*shop, rows, count, sum, amounts.iter().min().copied(), amounts.iter().max().copied(), mean]
    };
    let text = "SELECT shop, count(*), count(amount), sum(amount), min(amount), max(amount), avg(amount) FROM t GROUP BY shop";
    assert_rows_in_any_order(&session.sql(text, &[])?, &lines(&groups, line));
    let found = session
        .sql("SELECT shop FROM t GROUP BY shop HAVING sum(amount) > 1150 ORDER BY shop NULLS LAST", &[])?;
    let rich =
        groups.iter().filter(|(_, group)| group.iter().filter_map(|sale| sale.amount).sum::<i64>() > 1150);
    let mut rich: Vec<Option<&str>> = rich.map(|(shop, _)| *shop).collect();
    rich.sort_by_key(|shop| (shop.is_none(), *shop));
    assert!(!rich.is_empty() && rich.len() < groups.len(), "the condition tells groups apart");
    assert_rows(&found, &lines(rich, |shop| vals![shop]));
    Ok(())
}

/// Counts and bounds of whole tables, which need no row, are those of the rows.
pub fn counts_and_bounds(session: &mut Session<'_>) -> Outcome {
    let sales = define(session)?;
    let amounts: Vec<i64> = sales.iter().filter_map(|sale| sale.amount).collect();
    let shops: Vec<&str> = sales.iter().filter_map(|sale| sale.shop).collect();
    let expected = vals![
        i64::try_from(sales.len())?,
        i64::try_from(amounts.len())?,
        amounts.iter().min().copied(),
        amounts.iter().max().copied(),
        shops.iter().min().copied(),
        shops.iter().max().copied(),
        ROWS - 1
    ];
    let text =
        "SELECT count(*), count(amount), min(amount), max(amount), min(shop), max(shop), max(id) FROM t";
    assert_rows(&session.sql(text, &[])?, std::slice::from_ref(&expected));
    assert_rows(&session.sql(&format!("{text} WHERE id >= 0"), &[])?, &[expected]);
    session.define("empty", TableDefinition::new(Input::batches(numbered_schema(), [])))?;
    let found = session.sql("SELECT count(*), count(id), min(id), max(name), sum(id) FROM empty", &[])?;
    assert_rows(&found, &[vals![0, 0, None::<i64>, None::<&str>, None::<i64>]]);
    assert_rows(&session.sql("SELECT * FROM empty", &[])?, &[]);
    assert_rows(&session.sql("SELECT id, count(*) FROM empty GROUP BY id", &[])?, &[]);
    Ok(())
}

/// Distinct values.
pub fn distinct_values(session: &mut Session<'_>) -> Outcome {
    let sales = define(session)?;
    let distinct: BTreeSet<Option<i64>> = sales.iter().map(|sale| sale.amount).collect();
    assert_rows_in_any_order(
        &session.sql("SELECT DISTINCT amount FROM t", &[])?,
        &lines(&distinct, |n| vals![*n]),
    );
    let some = i64::try_from(distinct.iter().flatten().count())?;
    assert_rows(&session.sql("SELECT count(DISTINCT amount) FROM t", &[])?, &[vals![some]]);
    Ok(())
}

/// Rows numbered and summed within groups.
pub fn windows(session: &mut Session<'_>) -> Outcome {
    let sales = define(session)?;
    let text = "SELECT id, row_number() OVER (PARTITION BY shop ORDER BY id DESC), \
                sum(amount) OVER (PARTITION BY shop ORDER BY id) FROM t ORDER BY id";
    let line = |sale: &Sale| {
        let same = || sales.iter().filter(|other| other.shop == sale.shop);
        let after = same().filter(|other| other.id >= sale.id).count();
        let so_far: Vec<i64> =
            same().filter(|other| other.id <= sale.id).filter_map(|other| other.amount).collect();
        let sum = (!so_far.is_empty()).then(|| so_far.iter().sum::<i64>());
        vals![sale.id, i64::try_from(after).unwrap(), sum]
    };
    assert_rows(&session.sql(text, &[])?, &lines(&sales, line));
    Ok(())
}

/// Named subqueries, unions, intersections and differences.
pub fn subqueries_and_sets(session: &mut Session<'_>) -> Outcome {
    let sales = define(session)?;
    let ids = |keep: &dyn Fn(&&Sale) -> bool| lines(sales.iter().filter(keep), |sale| vals![sale.id]);
    let low = |sale: &&Sale| sale.amount.is_some_and(|amount| amount < 0);
    let text = "WITH low AS (SELECT * FROM t WHERE amount < 0) SELECT id FROM low WHERE id > 100 ORDER BY id";
    assert_rows(&session.sql(text, &[])?, &ids(&|sale| low(sale) && sale.id > 100));
    let text = "SELECT id FROM t WHERE id < 5 UNION ALL SELECT id FROM t WHERE id < 3";
    assert_rows_in_any_order(&session.sql(text, &[])?, &lines([0, 1, 2, 3, 4, 0, 1, 2], |id| vals![id]));
    let text = "SELECT id FROM t WHERE amount < 0 INTERSECT SELECT id FROM t WHERE id > 100";
    assert_rows_in_any_order(&session.sql(text, &[])?, &ids(&|sale| low(sale) && sale.id > 100));
    let text = "SELECT id FROM t EXCEPT SELECT id FROM t WHERE amount < 0 OR amount IS NULL";
    assert_rows_in_any_order(&session.sql(text, &[])?, &ids(&|sale| sale.amount.is_some() && !low(sale)));
    let text = "SELECT id FROM t WHERE amount = (SELECT max(amount) FROM t) ORDER BY id";
    let max = sales.iter().filter_map(|sale| sale.amount).max();
    assert_rows(&session.sql(text, &[])?, &ids(&|sale| sale.amount == max));
    let text = "SELECT id FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE b.id = a.amount AND b.shop = a.shop) ORDER BY id";
    let matched = |sale: &&Sale| {
        sales
            .iter()
            .any(|other| Some(other.id) == sale.amount && other.shop.is_some() && other.shop == sale.shop)
    };
    assert_rows(&session.sql(text, &[])?, &ids(&matched));
    Ok(())
}

/// Conditions in expressions, and patterns.
pub fn conditions_and_patterns(session: &mut Session<'_>) -> Outcome {
    let sales = define(session)?;
    let text = "SELECT id, CASE WHEN amount IS NULL THEN 'none' WHEN amount < 0 THEN 'loss' ELSE coalesce(shop, '?') END \
                FROM t ORDER BY id";
    let line = |sale: &Sale| match sale.amount {
        None => vals![sale.id, "none"],
        Some(amount) if amount < 0 => vals![sale.id, "loss"],
        Some(_) => vals![sale.id, sale.shop.unwrap_or("?")],
    };
    assert_rows(&session.sql(text, &[])?, &lines(&sales, line));
    let ids = |keep: fn(&str) -> bool| {
        lines(sales.iter().filter(|sale| sale.shop.is_some_and(keep)), |sale| vals![sale.id])
    };
    for (pattern, keep) in [
        ("%th", (|shop| shop.ends_with("th")) as fn(&str) -> bool),
        ("n%", |shop| shop.starts_with('n')),
        ("_ast", |shop| shop == "east"),
        ("", str::is_empty),
        ("%", |_| true),
    ] {
        let found = session.sql("SELECT id FROM t WHERE shop LIKE $1 ORDER BY id", &vals![pattern])?;
        assert_rows(&found, &ids(keep));
    }
    Ok(())
}

/// More rows than a batch: keys, ranges across the border of batches, order, and both ends.
pub fn queries_across_batches(session: &mut Session<'_>) -> Outcome {
    let (count, border) = (70_000, 1 << 16);
    session.define_keyed("big", "id", numbered((0..count).rev()))?;
    for id in [0, border - 1, border, count - 1] {
        let found = session.sql("SELECT name FROM big WHERE id = $1", &vals![id])?;
        assert_rows(&found, &[vals![name_of(id)]]);
    }
    let text = "SELECT id FROM big WHERE id BETWEEN $1 AND $2 ORDER BY id";
    for (from, to) in [(border - 3, border + 3), (-5, 2), (count - 2, count + 9), (border, border)] {
        let found = session.sql(text, &vals![from, to])?;
        assert_rows(&found, &lines(from.max(0)..=to.min(count - 1), |id| vals![id]));
    }
    let found = session.sql("SELECT id FROM big ORDER BY id LIMIT 3 OFFSET 65534", &[])?;
    assert_rows(&found, &lines(65_534..65_537, |id| vals![id]));
    let found = session.sql("SELECT id FROM big ORDER BY id DESC LIMIT 3", &[])?;
    assert_rows(&found, &lines([count - 1, count - 2, count - 3], |id| vals![id]));
    let found = session.sql("SELECT count(*), sum(id) FROM big WHERE id >= $1", &vals![border])?;
    assert_rows(&found, &[vals![count - border, (border..count).sum::<i64>()]]);
    let found = session.sql("SELECT count(*) FROM big WHERE name = 'row 69999'", &[])?;
    assert_rows(&found, &[vals![1]]);
    Ok(())
}

/// A table sorted by another column than its key answers ranges and order by both.
pub fn queries_by_another_order(session: &mut Session<'_>) -> Outcome {
    let sales = sales();
    let column = |value: fn(&Sale) -> Value| sales.iter().map(value).collect();
    let rows = batch(&[
        ("id", DataType::Int64, column(|sale| sale.id.into())),
        ("amount", DataType::Int64, column(|sale| sale.amount.into())),
    ]);
    session.define("t", TableDefinition::new(rows).primary_key(["id"]).sort_by(["amount", "id"]))?;
    let mut sorted = sales.clone();
    sorted.sort_by_key(|sale| (sale.amount.is_none(), sale.amount, sale.id));
    let line = |sale: &Sale| vals![sale.amount, sale.id];
    assert_rows(&session.sql("SELECT amount, id FROM t ORDER BY amount, id", &[])?, &lines(&sorted, line));
    assert_rows(
        &session.sql("SELECT amount, id FROM t ORDER BY amount, id LIMIT 9", &[])?,
        &lines(&sorted[..9], line),
    );
    let found = session.sql("SELECT amount, id FROM t WHERE amount >= 60 ORDER BY amount, id", &[])?;
    assert_rows(&found, &lines(sorted.iter().filter(|sale| sale.amount >= Some(60)), line));
    assert_rows(&session.sql("SELECT amount, id FROM t ORDER BY id", &[])?, &lines(&sales, line));
    Ok(())
}

/// Limits and offsets inside queries: the outer query sees only the rows that they leave.
pub fn limits_within_queries(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let cases = [
        ("SELECT count(*) FROM (SELECT * FROM t LIMIT 5)", 5),
        ("SELECT count(*) FROM (SELECT id FROM t LIMIT 1000)", ROWS),
        ("SELECT count(*) FROM (SELECT id FROM t LIMIT 5 OFFSET 298)", 2),
        ("SELECT count(*) FROM (SELECT id FROM t ORDER BY id LIMIT 150)", 150),
        ("SELECT max(id) FROM (SELECT id FROM t ORDER BY id LIMIT 150)", 149),
        ("SELECT min(id) FROM (SELECT id FROM t ORDER BY id DESC LIMIT 150)", 150),
        ("SELECT count(*) FROM (SELECT id FROM t WHERE id IN (1, 2, 3) LIMIT 2)", 2),
        ("SELECT count(*) FROM (SELECT id FROM t WHERE id IN (1, 2, 999) LIMIT 3)", 2),
        ("SELECT count(*) FROM (SELECT id FROM t WHERE id > 297 LIMIT 10)", 2),
        ("SELECT count(*) FROM (SELECT id FROM t WHERE id = 5 LIMIT 0)", 0),
        ("SELECT count(DISTINCT id) FROM (SELECT id FROM t LIMIT 250)", 250),
    ];
    for (text, expected) in cases {
        assert_eq!(rows_of(&session.sql(text, &[])?), [vals![expected]], "{text}");
    }
    Ok(())
}
