//! Joins of several tables, compared with nested loops over plain Rust rows.

use arrow::datatypes::DataType;
use pillion::{TableDefinition, Value};

use crate::model::{assert_rows_in_any_order, batch, vals};
use crate::{Outcome, Session};

type Order = (i64, Option<i64>);
type Customer = (i64, &'static str);

fn orders() -> Vec<Order> {
    (0..120).map(|id| (id, (id % 7 != 0).then_some(if id % 11 == 0 { 99 } else { id * 13 % 30 }))).collect()
}

fn customers() -> Vec<Customer> {
    let names = ["Ada", "Bob", "", "Ada"];
    (0..35).map(|id| (id, names[usize::try_from(id % 4).unwrap()])).collect()
}

/// Orders of customers; some orders have no customer, some name a customer that does not exist.
fn define(session: &mut Session<'_>) -> Outcome {
    let (orders, customers) = (orders(), customers());
    let rows = batch(&[
        ("id", DataType::Int64, orders.iter().map(|order| order.0.into()).collect()),
        ("customer", DataType::Int64, orders.iter().map(|order| order.1.into()).collect()),
    ]);
    session.define_keyed("orders", "id", rows.slice(60, 60))?;
    session.append("orders", rows.slice(0, 60))?;
    let rows = batch(&[
        ("id", DataType::Int64, customers.iter().map(|customer| customer.0.into()).collect()),
        ("name", DataType::Utf8, customers.iter().map(|customer| customer.1.into()).collect()),
    ]);
    session.define("customers", TableDefinition::new(rows).primary_key(["id"]))?;
    Ok(())
}

/// Pairs of an order and its customer.
fn pairs() -> Vec<(Order, Customer)> {
    let customers = customers();
    let of = |order: &Order| customers.iter().copied().find(|customer| Some(customer.0) == order.1);
    orders().into_iter().filter_map(|order| Some((order, of(&order)?))).collect()
}

/// An inner join on a key.
pub fn inner(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let found =
        session.sql("SELECT o.id, c.name FROM orders o JOIN customers c ON o.customer = c.id", &[])?;
    let expected: Vec<Vec<Value>> =
        pairs().into_iter().map(|(order, customer)| vals![order.0, customer.1]).collect();
    assert_rows_in_any_order(&found, &expected);
    Ok(())
}

/// Left, right and full joins keep rows without a partner.
pub fn outer(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let matched: Vec<Vec<Value>> =
        pairs().into_iter().map(|(order, customer)| vals![order.0, customer.1]).collect();
    let lonely_orders = orders().into_iter().filter(|order| !pairs().iter().any(|(other, _)| other == order));
    let lonely_orders: Vec<Vec<Value>> = lonely_orders.map(|order| vals![order.0, None::<&str>]).collect();
    let lonely_customers =
        customers().into_iter().filter(|one| !pairs().iter().any(|(_, other)| other == one));
    let lonely_customers: Vec<Vec<Value>> =
        lonely_customers.map(|customer| vals![None::<i64>, customer.1]).collect();
    let mut join = |kind: &str| {
        session.sql(
            &format!("SELECT o.id, c.name FROM orders o {kind} JOIN customers c ON o.customer = c.id"),
            &[],
        )
    };
    assert!(!lonely_orders.is_empty() && !lonely_customers.is_empty(), "the rows test what they should");
    assert_rows_in_any_order(&join("LEFT")?, &[matched.clone(), lonely_orders.clone()].concat());
    assert_rows_in_any_order(&join("RIGHT")?, &[matched.clone(), lonely_customers.clone()].concat());
    assert_rows_in_any_order(&join("FULL")?, &[matched, lonely_orders, lonely_customers].concat());
    Ok(())
}

/// A join with a condition that selects one key on each side.
pub fn with_conditions_on_keys(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let text = "SELECT o.id, c.name FROM orders o JOIN customers c ON o.customer = c.id WHERE ";
    let expected = |keep: &dyn Fn(&(Order, Customer)) -> bool| -> Vec<Vec<Value>> {
        pairs().iter().filter(|pair| keep(pair)).map(|(order, customer)| vals![order.0, customer.1]).collect()
    };
    let found = session.sql(&format!("{text} c.id = $1"), &vals![9])?;
    assert_rows_in_any_order(&found, &expected(&|(_, customer)| customer.0 == 9));
    let found = session.sql(&format!("{text} o.id = $1"), &vals![9])?;
    assert_rows_in_any_order(&found, &expected(&|(order, _)| order.0 == 9));
    let found = session.sql(&format!("{text} o.id IN (8, 9, 10) AND c.name <> ''"), &[])?;
    assert_rows_in_any_order(
        &found,
        &expected(&|(order, customer)| (8..=10).contains(&order.0) && !customer.1.is_empty()),
    );
    let found = session.sql(&format!("{text} c.id IN (1, 2) AND o.customer IN (2, 3) AND o.id > 20"), &[])?;
    assert_rows_in_any_order(&found, &expected(&|(order, customer)| customer.0 == 2 && order.0 > 20));
    Ok(())
}

/// Rows with and without a partner, by IN and NOT IN, EXISTS and NOT EXISTS.
pub fn with_and_without_a_partner(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let has_order = |customer: &Customer| orders().iter().any(|order| order.1 == Some(customer.0));
    let ids = |wanted: bool| -> Vec<Vec<Value>> {
        customers()
            .iter()
            .filter(|customer| has_order(customer) == wanted)
            .map(|customer| vals![customer.0])
            .collect()
    };
    let with = [
        "id IN (SELECT customer FROM orders)",
        "EXISTS (SELECT 1 FROM orders WHERE customer = customers.id)",
    ];
    for condition in with {
        let found = session.sql(&format!("SELECT id FROM customers WHERE {condition}"), &[])?;
        assert_rows_in_any_order(&found, &ids(true));
    }
    let found = session.sql(
        "SELECT id FROM customers WHERE NOT EXISTS (SELECT 1 FROM orders WHERE customer = customers.id)",
        &[],
    )?;
    assert_rows_in_any_order(&found, &ids(false));
    // A null among the values makes NOT IN unknown for every row.
    let found = session.sql("SELECT id FROM customers WHERE id NOT IN (SELECT customer FROM orders)", &[])?;
    assert_rows_in_any_order(&found, &[]);
    Ok(())
}

/// A table joined with itself.
pub fn with_itself(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let text = "SELECT a.id, b.id FROM customers a JOIN customers b ON a.name = b.name AND a.id < b.id";
    let all = customers();
    let expected: Vec<Vec<Value>> = all
        .iter()
        .flat_map(|a| all.iter().filter(move |b| a.1 == b.1 && a.0 < b.0).map(move |b| vals![a.0, b.0]))
        .collect();
    assert_rows_in_any_order(&session.sql(text, &[])?, &expected);
    let found = session.sql("SELECT count(*) FROM customers a CROSS JOIN customers b", &[])?;
    assert_rows_in_any_order(&found, &[vals![1225]]);
    Ok(())
}

/// Three tables, grouped.
pub fn three_tables_grouped(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let rows = batch(&[
        ("name", DataType::Utf8, vals!["Ada", "Bob"]),
        ("city", DataType::Utf8, vals!["Rome", "Oslo"]),
    ]);
    session.define_keyed("cities", "name", rows)?;
    let text = "SELECT s.city, count(*), max(o.id) FROM orders o JOIN customers c ON o.customer = c.id \
                JOIN cities s ON s.name = c.name GROUP BY s.city";
    let of = |name: &str| {
        pairs().into_iter().filter(|pair| pair.1.1 == name).map(|pair| pair.0.0).collect::<Vec<_>>()
    };
    let line =
        |city: &str, ids: Vec<i64>| vals![city, i64::try_from(ids.len()).unwrap(), ids.iter().max().copied()];
    assert_rows_in_any_order(&session.sql(text, &[])?, &[line("Rome", of("Ada")), line("Oslo", of("Bob"))]);
    Ok(())
}
