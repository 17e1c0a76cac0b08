//! Our rules of plans for contexts of the program itself.

use datafusion::execution::{SessionState, SessionStateBuilder};

use crate::query::{inverses, joins, last_rule, narrow, zeros};

/// Adds the rules of Pillion's own engine to those of a context. No answer over the tables of a
/// [catalog](super::CacheCatalog) needs them more than answers over other tables do. They
///
/// - look rows up where few rows are joined with a large table on its primary key (`PillionIndexJoin` in plans);
/// - leave out batches and rows by what joins and sorts with a limit find out while they run (`narrowed` in plans);
/// - give the right answer where DataFusion 55 itself does not, for tables of any kind: for -0.0 in conditions and in sorts with a limit,
///   and for sorts above conditions with casts and arithmetic.
///
/// ```
/// use datafusion::execution::SessionStateBuilder;
/// use datafusion::prelude::SessionContext;
///
/// let state = SessionStateBuilder::new().with_default_features().build();
/// let context = SessionContext::new_with_state(pillion::datafusion::with_rules(state));
/// # let rules: Vec<_> = context.state().physical_optimizers().iter().map(|rule| rule.name().to_owned()).collect();
/// # assert!(rules.iter().any(|rule| rule == "pillion_joins"), "{rules:?}");
/// ```
#[must_use]
pub fn with_rules(state: SessionState) -> SessionState {
    let logical = zeros::with_rule(state.optimizers().to_vec());
    let mut physical = inverses::with_rule(state.physical_optimizers().to_vec());
    physical.extend(narrow::rules());
    physical.extend(joins::rules());
    physical.extend(last_rule::rules());
    SessionStateBuilder::new_from_existing(state)
        .with_optimizer_rules(logical)
        .with_physical_optimizer_rules(physical)
        .build()
}
