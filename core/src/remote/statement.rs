//! Queries that the sidecar planned for this client.

use std::sync::Arc;

use parking_lot::Mutex;

use super::answers::begin_answer;
use super::connection::{Connection, Link, Repeat};
use super::view::{View, wire_values};
use crate::answer::batches::Batches;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;
use crate::way::{Reader, Statement};
use crate::wire::{Call, Execute, Next, Prepare, PrepareReply};

/// A query that the sidecar planned for this client; planned again after its connection broke.
#[derive(Debug)]
pub(super) struct RemoteStatement {
    connection: Arc<Connection>,
    text: String,
    held: Mutex<HeldStatement>,
}

#[derive(Clone, Debug)]
struct HeldStatement {
    link: Link,
    id: u64,
    parameters: usize,
}

impl HeldStatement {
    fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.link.is(&other.link)
    }
}

fn prepare(connection: &Connection, text: &str) -> Result<HeldStatement> {
    let request = Prepare { text: text.to_owned() };
    let (reply, link): (PrepareReply, Link) = connection.call_on(Call::Prepare, &request, Repeat::Once)?;
    let parameters = usize::try_from(reply.parameters).unwrap_or(usize::MAX);
    Ok(HeldStatement { link, id: reply.id, parameters })
}

impl RemoteStatement {
    /// Has the sidecar plan a query.
    pub(super) fn prepare(connection: Arc<Connection>, text: &str) -> Result<Self> {
        let held = Mutex::new(prepare(&connection, text)?);
        Ok(Self { connection, text: text.to_owned(), held })
    }
}

impl Statement for RemoteStatement {
    fn parameters(&self) -> usize {
        self.held.lock().parameters
    }

    fn execute(&self, at: Option<&dyn Reader>, parameters: &[Value]) -> Result<Batches> {
        let view = match at {
            None => None,
            Some(reader) => match (reader as &dyn std::any::Any).downcast_ref::<View>() {
                Some(view) if Arc::ptr_eq(&view.connection, &self.connection) => Some(view),
                _ => return Err(Error::new(ErrorCode::InvalidArgument, "the snapshot is of another cache")),
            },
        };
        let (parameters, bounds) = (wire_values(parameters), self.connection.bounds()?);
        let mut held = self.held.lock().clone();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let request = Execute {
                snapshot: view.and_then(View::snapshot),
                id: held.id,
                parameters: parameters.clone(),
                bounds,
            };
            let reply = self.connection.call_held(&held.link, Call::Execute, &request, Repeat::Once);
            match reply {
                // The connection that planned the query broke. A snapshot was lost with it; the newest version can
                // still be read.
                Err(error) if error.code() == ErrorCode::Unavailable && view.is_none() && attempts < 3 => {
                    let mut newest = self.held.lock();
                    // Another thread may have planned it again already.
                    if newest.is(&held) {
                        *newest = prepare(&self.connection, &self.text)?;
                    }
                    held = newest.clone();
                }
                Err(error) => return Err(error),
                Ok(reply) => return begin_answer(self.connection.clone(), held.link, &reply),
            }
        }
    }

    /// A message takes waiting.
    fn execute_known(&self, _: Option<&dyn Reader>, _: &[Value]) -> Result<Option<Batches>> {
        Ok(None)
    }
}

impl Drop for RemoteStatement {
    fn drop(&mut self) {
        let held = self.held.lock();
        self.connection.tell(&held.link, Call::Forget, &Next { id: held.id });
    }
}
