//! Statements that came as text, by their shape.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::literals::Template;
use super::plan::{Effort, PointPlan};
use crate::answer::batches::Batches;
use crate::query::engine::Readable;
use crate::storage::State;
use crate::types::value::Value;

/// Most shapes that are kept.
const SHAPES_MAX: usize = 256;
/// Most bytes of the shapes that are kept.
const SHAPES_LEN_MAX: usize = 256 << 10;

/// What is known of a shape.
#[derive(Clone)]
enum Known {
    /// It takes the point path.
    Point(Arc<PointPlan>),
    /// It does not, over the table of this number.
    Other(u64),
}

type Shapes = HashMap<Box<[u8]>, Known>;

/// Which shapes of text take the point path.
pub(in crate::query) struct Texts {
    shapes: ArcSwap<Shapes>,
    /// Held while the shapes change.
    changing: Mutex<()>,
}

impl Texts {
    pub(in crate::query) fn new() -> Self {
        Self { shapes: ArcSwap::default(), changing: Mutex::new(()) }
    }

    /// The answer to a statement if it is known to take the point path.
    pub(in crate::query) fn answer(
        &self,
        state: &State,
        template: &Template<'_>,
        parameters: &[Value],
        bounds: (&Readable, Effort),
    ) -> Option<Batches> {
        match self.shapes.load().get(&*template.shape)? {
            Known::Point(plan) => plan.answer(state, parameters, &template.literals, bounds),
            Known::Other(_) => None,
        }
    }

    /// Whether it is known what becomes of a shape over a table.
    pub(in crate::query) fn knows(&self, template: &Template<'_>, table: u64) -> bool {
        match self.shapes.load().get(&*template.shape) {
            Some(Known::Point(plan)) => plan.table() == table,
            Some(Known::Other(other)) => *other == table,
            None => false,
        }
    }

    /// Remembers what becomes of a shape over a table. If that were too many shapes, all others are forgotten.
    pub(in crate::query) fn learn(&self, template: &Template<'_>, table: u64, plan: Option<PointPlan>) {
        let _changing = self.changing.lock();
        let held = self.shapes.load();
        let len: usize = held.keys().map(|shape| shape.len()).sum();
        let has_room = held.len() < SHAPES_MAX && len + template.shape.len() <= SHAPES_LEN_MAX;
        let mut shapes = if has_room { Shapes::clone(&held) } else { Shapes::new() };
        let known = plan.map_or(Known::Other(table), |plan| Known::Point(Arc::new(plan)));
        shapes.insert(template.shape.as_slice().into(), known);
        self.shapes.store(Arc::new(shapes));
    }
}
