//! The point path: statements that name rows by their keys are answered from the key index, past DataFusion.
//!
//! DataFusion plans each such statement once. If its plan shows that it only looks up keys, what remains to be done is
//! kept as a [`PointPlan`]: where the values of the keys come from, and which columns are wanted. A text is found again
//! by its shape, which is the text without its literals. Whatever a plan is not sure about, such as a parameter of
//! another type, takes the ordinary path, which also makes all errors.

mod literals;
mod plan;
mod recognise;
#[cfg(test)]
mod tests;
mod texts;
mod value;
mod work;

pub(super) use self::literals::Template;
#[cfg(test)]
pub(super) use self::plan::taken;
pub(super) use self::plan::{Effort, PointPlan};
pub(super) use self::recognise::{leaf_of, recognise};
pub(super) use self::texts::Texts;
