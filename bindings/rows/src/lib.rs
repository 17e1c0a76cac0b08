//! Rows between Pillion and the Arrow C interfaces of another language: what the bindings share.

mod answer;
mod contain;
mod fitted;
mod kinds;
mod validated;

pub use answer::AnswerReader;
pub use contain::{contained, words};
pub use fitted::{Fitted, fitted};
pub use kinds::kind_name;
pub use validated::{Validated, validated};
