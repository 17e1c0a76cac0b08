//! What all calls share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pillion::Way;
use pillion_door::{Admission, Gate, closed};

use crate::options::FlightOptions;
use crate::statement::held::Statements;
use crate::statement::prepared::STATEMENT_LEN;

/// How this door is called in the log and in metrics.
pub const DOOR: &str = "flight_sql";
/// Statements whose parameters are as long as is allowed, for which there is room.
const LARGE_STATEMENTS: usize = 16;
/// How often statements are forgotten that nobody uses any more.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What all calls share.
#[derive(Debug)]
pub(crate) struct Door {
    /// The cache, who may use it, and the connections.
    pub(crate) gate: Arc<Gate>,
    pub(crate) options: FlightOptions,
    pub(crate) requests: Admission,
    pub(crate) uploads: Admission,
    pub(crate) statements: Arc<Statements>,
    /// Whether somebody looks for statements that nobody uses any more.
    is_looking: AtomicBool,
}

impl Deref for Door {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.gate
    }
}

impl Door {
    pub(crate) fn new(gate: Arc<Gate>, options: FlightOptions) -> Self {
        // Room for as many short statements as are kept, and for the parameters of some.
        let bytes = options.request_bytes_max.saturating_mul(LARGE_STATEMENTS);
        let bytes = bytes.saturating_add(options.statements_max.saturating_mul(STATEMENT_LEN));
        let statements = Statements::new(options.statements_max, bytes, options.statement_timeout);
        Self {
            gate,
            requests: Admission::new("calls", options.requests_max, options.requests_waiting_max),
            uploads: Admission::new("uploads", options.uploads_max, 0),
            statements: Arc::new(statements),
            is_looking: AtomicBool::new(false),
            options,
        }
    }

    /// How the door reaches the cache.
    pub(crate) fn way(&self) -> Way {
        self.cache.blocking().way()
    }

    /// Begins to forget statements that nobody uses any more, if nobody does so yet. Called on the runtime of the door.
    pub(crate) fn begin_to_look(&self) {
        if self.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (statements, closing) = (self.statements.clone(), self.closing.clone());
        drop(tokio::spawn(async move {
            let looking = async {
                loop {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                    statements.forget_unused();
                }
            };
            tokio::select! {
                () = looking => {}
                () = closed(closing) => {}
            }
        }));
    }
}
