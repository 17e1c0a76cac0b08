//! A function of DataFusion that says what it would make before it makes it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::udf_eq::UdfEq;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, StructFieldMapping,
};

use super::super::error::external;
use super::super::watch;
use super::bounds::{Bound, Cost};
use super::held::hold;
use super::types::{check_text, check_type};
use crate::types::error::{Error, ErrorCode};

/// Most bytes of one value.
const VALUE_MAX: u64 = 256 << 20;
/// Most bytes that one call of the function makes for several rows; estimates for rows are not exact.
const PIECE_MAX: u64 = 16 << 20;
/// Values of no more than this many bytes together do not count in the memory of queries.
const SMALL: u64 = 64 << 10;
/// Most steps for the rows of one batch.
const STEPS_MAX: u64 = 10_000_000_000;

/// A function with a bound on its values.
#[derive(Clone)]
pub(super) struct Bounded {
    inner: UdfEq<Arc<dyn ScalarUDFImpl>>,
    bound: Bound,
    /// The memory of all queries.
    pool: Arc<dyn MemoryPool>,
}

/// As the function itself: messages of DataFusion show it.
impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.inner, f)
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && self.bound == other.bound
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Bounded {
    /// Whether the last argument is the text of a type.
    fn reads_types(&self) -> bool {
        self.bound == Bound::Type && self.inner.name().starts_with("arrow_")
    }

    pub(super) fn new(inner: &Arc<dyn ScalarUDFImpl>, bound: Bound, pool: &Arc<dyn MemoryPool>) -> Self {
        Self { inner: inner.clone().into(), bound, pool: pool.clone() }
    }

    /// Reserves memory for values.
    fn reserve(&self, bytes: u64) -> Result<MemoryReservation> {
        let memory = MemoryConsumer::new(self.inner.name()).register(&self.pool);
        let reserved = memory.try_grow(usize::try_from(bytes).unwrap_or(usize::MAX));
        reserved.map_err(|_| self.refused(bytes, "more than `query_memory` has left"))?;
        Ok(memory)
    }

    fn refused(&self, bytes: u64, why: &str) -> DataFusionError {
        let message = format!(
            "`{}` would make up to {bytes} bytes, {why}; make shorter values, or fewer rows",
            self.inner.name()
        );
        external(Error::new(ErrorCode::MemoryLimit, message))
    }

    fn check_value(&self, cost: Cost) -> Result<()> {
        if cost.bytes > VALUE_MAX {
            return Err(self.refused(cost.bytes, &format!("and a value may have at most {VALUE_MAX}")));
        }
        if cost.steps > STEPS_MAX {
            let message = format!(
                "`{}` would take {} steps, and may take at most {STEPS_MAX} for a batch of rows; compare shorter texts",
                self.inner.name(),
                cost.steps
            );
            return Err(external(Error::new(ErrorCode::MemoryLimit, message)));
        }
        Ok(())
    }

    /// The same value for all rows of a batch.
    fn constant(&self, args: ScalarFunctionArgs, memory: &MemoryReservation) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let value = match self.inner.invoke_with_args(args)? {
            ColumnarValue::Scalar(value) => value,
            ColumnarValue::Array(array) => return self.finish(&array),
        };
        memory.free();
        if value.size() as u64 <= SMALL / rows.max(1) as u64 {
            return Ok(ColumnarValue::Scalar(value));
        }
        let bytes = (value.size() as u64).saturating_mul(rows as u64);
        if bytes > i32::MAX as u64
            && !matches!(value, ScalarValue::LargeUtf8(_) | ScalarValue::LargeBinary(_))
        {
            return Err(self.refused(bytes, "more than a batch of rows can hold"));
        }
        let memory = self.reserve(bytes)?;
        Ok(ColumnarValue::Array(hold(&value.to_array_of_size(rows)?, memory)?))
    }

    fn finish(&self, array: &ArrayRef) -> Result<ColumnarValue> {
        let memory = self.reserve(array.get_array_memory_size() as u64)?;
        Ok(ColumnarValue::Array(hold(array, memory)?))
    }

    /// Computes the values of rows that may be many bytes together, some rows at a time.
    fn in_pieces(&self, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut pieces: Vec<ArrayRef> = Vec::new();
        let (mut start, mut bytes) = (0, 0_u64);
        for row in 0..args.number_rows {
            let cost = self.bound.row(&args.args, row);
            self.check_value(cost)?;
            if row > start && bytes.saturating_add(cost.bytes) > PIECE_MAX {
                pieces.push(self.piece(args, start, row - start, bytes)?);
                (start, bytes) = (row, 0);
            }
            bytes = bytes.saturating_add(cost.bytes);
        }
        pieces.push(self.piece(args, start, args.number_rows - start, bytes)?);
        let made: usize = pieces.iter().map(Array::get_array_memory_size).sum();
        let memory = self.reserve(made as u64)?;
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(hold(&arrow::compute::concat(&pieces)?, memory)?))
    }

    fn piece(&self, args: &ScalarFunctionArgs, start: usize, rows: usize, bytes: u64) -> Result<ArrayRef> {
        let memory = self.reserve(bytes)?;
        let slice = |arg: &ColumnarValue| match arg {
            ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, rows)),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
        };
        let made = self.inner.invoke_with_args(ScalarFunctionArgs {
            args: args.args.iter().map(slice).collect(),
            arg_fields: args.arg_fields.clone(),
            number_rows: rows,
            return_field: args.return_field.clone(),
            config_options: args.config_options.clone(),
        })?;
        hold(&made.into_array(rows)?, memory)
    }
}

impl ScalarUDFImpl for Bounded {
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let cost = self.bound.all(&args.args, rows);
        if !watch::may_make(cost.bytes.max(cost.steps)) {
            return Err(self.refused(cost.bytes, "and a statement is planned without values of that size"));
        }
        if cost.bytes <= SMALL && cost.steps <= STEPS_MAX {
            return self.inner.invoke_with_args(args);
        }
        if is_constant {
            // The estimate above is rough; this one looks at the single row.
            let cost = self.bound.row(&args.args, 0);
            self.check_value(cost)?;
            let memory = self.reserve(cost.bytes)?;
            return self.constant(args, &memory);
        }
        if cost.bytes > PIECE_MAX {
            return self.in_pieces(&args);
        }
        self.check_value(cost)?;
        let memory = self.reserve(cost.bytes)?;
        match self.inner.invoke_with_args(args)? {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(hold(&array, memory)?)),
            value @ ColumnarValue::Scalar(_) => Ok(value),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if self.reads_types()
            && let Some(text) = args.scalar_arguments.last().and_then(|value| (*value)?.try_as_str()?)
        {
            check_text(text)?;
        }
        let field = self.inner.return_field_from_args(args)?;
        check_type(field.data_type())?;
        Ok(field)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if self.reads_types()
            && let Some(Expr::Literal(value, _)) = args.last()
            && let Some(Some(text)) = value.try_as_str()
        {
            check_text(text)?;
        }
        Ok(match self.inner.simplify(args, info)? {
            // The simplified call is of the function itself, which knows no bound.
            ExprSimplifyResult::Simplified(Expr::ScalarFunction(mut call))
                if call.func.name() == self.inner.name() =>
            {
                call.func = Arc::new(ScalarUDF::new_from_impl(self.clone()));
                ExprSimplifyResult::Simplified(Expr::ScalarFunction(call))
            }
            simplified => simplified,
        })
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let updated = self.inner.with_updated_config(config)?;
        Some(ScalarUDF::new_from_impl(Self::new(updated.inner(), self.bound, &self.pool)))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    #[expect(deprecated, reason = "whoever calls it is answered as before")]
    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.display_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    #[expect(deprecated, reason = "whoever calls it is answered as before")]
    fn is_nullable(&self, args: &[Expr], schema: &dyn datafusion::common::ExprSchema) -> bool {
        self.inner.is_nullable(args, schema)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, literal, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(inputs)
    }

    fn propagate_constraints(
        &self,
        interval: &Interval,
        inputs: &[&Interval],
    ) -> Result<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn struct_field_mapping(&self, args: &[Option<ScalarValue>]) -> Option<StructFieldMapping> {
        self.inner.struct_field_mapping(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }
}
