//! Rows and statements between Pillion and other languages: what the bindings and the Flight SQL door share.

mod answer;
mod contain;
mod fitted;
mod kinds;
mod placeholders;
mod validated;

pub use answer::AnswerReader;
pub use contain::{contained, words};
pub use fitted::{Fitted, fitted};
pub use kinds::kind_name;
pub use placeholders::{numbered, parameters};
pub use validated::{Validated, validated};
