//! Rows between Pillion and the Arrow C interfaces of another language: what the bindings share.

mod answer;
mod contain;
mod fitted;
mod validated;

pub use answer::AnswerReader;
pub use contain::{contained, words};
pub use fitted::{Fitted, fitted};
pub use validated::{Validated, validated};
