//! Recognises plans of statements that only look up keys.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::expr::{AggregateFunctionParams, InList};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, FetchType, LogicalPlan, Operator, Projection, SkipType, TableScan,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;

use super::literals::Template;
use super::plan::{Limit, PointPlan, Wanted};
use super::value::{Computed, KeyValue, Source};
use super::work::Work;
use crate::query::lookup::PointExec;
use crate::query::provider::CacheTable;
use crate::storage::TableShape;

/// What a plan that may be recognised reads.
pub(in crate::query) enum Leaf<'a> {
    /// Rows by their keys.
    Lookup(&'a PointExec),
    /// Nothing, as everything follows from what is known already.
    Nothing,
}

impl Leaf<'_> {
    /// Number of the table; that of no table if nothing is read.
    pub(in crate::query) fn table(&self) -> u64 {
        match self {
            Self::Lookup(lookup) => lookup.table(),
            Self::Nothing => u64::MAX,
        }
    }
}

/// The only leaf of a plan, if it is one of a plan that may be recognised.
pub(in crate::query) fn leaf_of(plan: &Arc<dyn ExecutionPlan>) -> Option<Leaf<'_>> {
    if let Some(lookup) = plan.downcast_ref::<PointExec>() {
        return Some(Leaf::Lookup(lookup));
    }
    if plan.is::<PlaceholderRowExec>() {
        return Some(Leaf::Nothing);
    }
    match plan.children().as_slice() {
        [input] => leaf_of(input),
        _ => None,
    }
}

/// What remains to be done for a statement whose types have been coerced; `None` unless all of it is understood.
/// `template`: the statement is the probe of this text. `schema` has the columns of the answer.
pub(in crate::query) fn recognise(
    plan: &LogicalPlan,
    template: Option<&Template<'_>>,
    parameters: usize,
    schema: SchemaRef,
) -> Option<PointPlan> {
    let mut statement = Statement { template, used: vec![false; template.map_or(0, |it| it.literals.len())] };
    let (limit, plan) = statement.limit(plan)?;
    let (wanted, plan) = match plan {
        LogicalPlan::Projection(Projection { expr, input, .. }) => (Some(expr), input.as_ref()),
        plan => (None, plan),
    };
    if let (LogicalPlan::Aggregate(aggregate), Some([column]), Limit::None) =
        (plan, wanted.map(Vec::as_slice), limit)
    {
        let shape = counted_table(aggregate)?;
        let is_count = is_column(column) && statement.used.iter().all(|used| *used);
        let wanted = Wanted::Count;
        return is_count.then(|| PointPlan {
            table: shape.id,
            parameters,
            key: Vec::new(),
            wanted,
            schema,
            limit,
        });
    }
    let LogicalPlan::Filter(filter) = plan else { return None };
    let shape = table_of(&filter.input)?;
    let mut key: Vec<Option<Vec<KeyValue>>> = shape.primary_key.iter().map(|_| None).collect();
    let mut others = Vec::new();
    for condition in split_conjunction(&filter.predicate) {
        let of_key = statement.condition(shape, condition).and_then(|(column, values)| {
            let place = shape.primary_key.iter().position(|&of_key| of_key == column)?;
            key.get_mut(place).filter(|held| held.is_none())?.replace(values);
            Some(())
        });
        if of_key.is_none() {
            others.push(condition);
        }
    }
    let key = key.into_iter().collect::<Option<Vec<_>>>().filter(|key| !key.is_empty())?;
    let wanted = statement.wanted(shape, wanted.map(Vec::as_slice), &others, &schema)?;
    // A literal that went elsewhere may be a name, for example.
    let is_understood = statement.used.iter().all(|used| *used);
    is_understood.then(|| PointPlan { table: shape.id, parameters, key, wanted, schema, limit })
}

/// The table that a scan of all its rows reads, whatever the statement calls it.
fn table_of(plan: &LogicalPlan) -> Option<&TableShape> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => table_of(&alias.input),
        LogicalPlan::TableScan(TableScan { source, projection: None, filters, fetch: None, .. })
            if filters.is_empty() =>
        {
            let source = source.downcast_ref::<DefaultTableSource>()?;
            Some(source.table_provider.downcast_ref::<CacheTable>()?.shape())
        }
        _ => None,
    }
}

/// The table all of whose rows are counted.
fn counted_table(aggregate: &Aggregate) -> Option<&TableShape> {
    let [counted] = aggregate.aggr_expr.as_slice() else { return None };
    let Expr::AggregateFunction(function) = without_alias(counted) else { return None };
    let AggregateFunctionParams { args, distinct: false, filter: None, order_by, null_treatment: None } =
        &function.params
    else {
        return None;
    };
    let counts_all = matches!(args.as_slice(), [Expr::Literal(ScalarValue::Int64(Some(1)), _)])
        && function.func.name() == "count"
        && order_by.is_empty()
        && aggregate.group_expr.is_empty();
    if counts_all { table_of(&aggregate.input) } else { None }
}

fn without_alias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => without_alias(&alias.expr),
        expr => expr,
    }
}

fn is_column(expr: &Expr) -> bool {
    matches!(without_alias(expr), Expr::Column(_))
}

/// The column that an expression is, whatever it is called.
fn column_of(shape: &TableShape, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => shape.schema.index_of(&column.name).ok(),
        Expr::Alias(alias) => column_of(shape, &alias.expr),
        _ => None,
    }
}

/// A statement that is being looked at.
struct Statement<'a, 't> {
    template: Option<&'a Template<'t>>,
    /// Which literals of the text were found.
    used: Vec<bool>,
}

impl Statement<'_, '_> {
    /// The limit of a plan, and the plan below it.
    fn limit<'p>(&mut self, plan: &'p LogicalPlan) -> Option<(Limit, &'p LogicalPlan)> {
        let LogicalPlan::Limit(limit) = plan else { return Some((Limit::None, plan)) };
        let (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(fetch))) =
            (limit.get_skip_type(), limit.get_fetch_type())
        else {
            return None;
        };
        let of_text = fetch.and_then(|fetch| self.literal(&ScalarValue::from(i64::try_from(fetch).ok()?)));
        let limited = match (of_text, fetch) {
            (Some(number), _) => Limit::Literal(number),
            (None, Some(fetch)) => Limit::Fixed(fetch),
            (None, None) => Limit::None,
        };
        Some((limited, limit.input.as_ref()))
    }

    /// What is wanted of the rows of the keys that satisfy `conditions`.
    fn wanted(
        &mut self,
        shape: &TableShape,
        wanted: Option<&[Expr]>,
        conditions: &[&Expr],
        answer: &SchemaRef,
    ) -> Option<Wanted> {
        let all = || -> Vec<Expr> {
            let names = shape.schema.fields().iter().map(|field| field.name());
            names.map(|name| Expr::Column(Column::from_name(name))).collect()
        };
        let wanted = wanted.map_or_else(all, <[Expr]>::to_vec);
        let columns: Option<Vec<usize>> = wanted.iter().map(|expr| column_of(shape, expr)).collect();
        if let (Some(columns), []) = (&columns, conditions) {
            let of_table = columns.iter().map(|&column| shape.schema.field(column).data_type());
            let is_same = of_table.eq(answer.fields().iter().map(|field| field.data_type()));
            return (is_same && !columns.is_empty()).then(|| Wanted::Columns(columns.clone()));
        }
        // What DataFusion computes from columns it computes itself.
        let columns = columns.filter(|columns| !columns.is_empty())?;
        let of_table = columns.iter().map(|&column| shape.schema.field(column).data_type());
        if !of_table.eq(answer.fields().iter().map(|field| field.data_type())) {
            return None;
        }
        Some(Wanted::Work(Work::new(shape, columns, conditions, |value| self.value(value))?))
    }

    /// The literal of the text that a value stands for.
    fn literal(&mut self, value: &ScalarValue) -> Option<usize> {
        let template = self.template?;
        let number = match value {
            ScalarValue::Int64(Some(value)) => template.literal_of_int(*value)?,
            ScalarValue::Utf8(Some(value)) | ScalarValue::Utf8View(Some(value)) => {
                template.literal_of_text(value)?
            }
            _ => return None,
        };
        *self.used.get_mut(number)? = true;
        Some(number)
    }

    /// The column that a condition names, and the values of which it must have one.
    fn condition(&mut self, shape: &TableShape, condition: &Expr) -> Option<(usize, Vec<KeyValue>)> {
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                let (named, value) = match compared_column(shape, left) {
                    Some(column) => (column, right),
                    None => (compared_column(shape, right)?, left),
                };
                Some((named, vec![self.key_value(shape, named, value)?]))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                let (column, mut values) = self.condition(shape, left)?;
                let (other, more) = self.condition(shape, right)?;
                values.extend(more);
                (column == other).then_some((column, values))
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                let column = compared_column(shape, expr)?;
                let values = list.iter().map(|value| self.key_value(shape, column, value));
                Some((column, values.collect::<Option<_>>()?))
            }
            _ => None,
        }
    }

    fn key_value(&mut self, shape: &TableShape, column: usize, value: &Expr) -> Option<KeyValue> {
        KeyValue::new(self.value(value)?, shape.schema.field(column).data_type())
    }

    /// A value that the statement itself says, or gets.
    fn value(&mut self, expr: &Expr) -> Option<Computed> {
        match expr {
            Expr::Literal(value, _) => {
                let data_type = value.data_type();
                let source = match self.literal(value) {
                    Some(number) => Source::Literal(number),
                    None => Source::Fixed(value.clone()),
                };
                Some(Computed { source, casts: Vec::new(), data_type })
            }
            Expr::Placeholder(placeholder) => {
                let number: usize = placeholder.id.strip_prefix('$')?.parse().ok()?;
                let data_type = placeholder.field.as_ref()?.data_type().clone();
                let source = Source::Parameter(number.checked_sub(1)?, data_type.clone());
                Some(Computed { source, casts: Vec::new(), data_type })
            }
            Expr::Cast(cast) => {
                let mut value = self.value(&cast.expr)?;
                value.data_type = cast.field.data_type().clone();
                value.casts.push(value.data_type.clone());
                Some(value)
            }
            _ => None,
        }
    }
}

/// The column that a side of a comparison is, or is cast from.
fn compared_column(shape: &TableShape, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => shape.schema.index_of(&column.name).ok(),
        Expr::Cast(cast) => match cast.expr.as_ref() {
            Expr::Column(column) => shape.schema.index_of(&column.name).ok(),
            _ => None,
        },
        _ => None,
    }
}
