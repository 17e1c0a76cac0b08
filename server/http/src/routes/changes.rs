//! `GET /v1/tables/{table}/changes`: what is committed to a table, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::unfold;
use pillion::{AsyncSubscription, Version};
use pillion_access::{Identity, Right};
use pillion_door::closed;
use pillion_door::said::{self, Said};
use serde_json::json;

use crate::answer::encoder;
use crate::answer::format::Format;
use crate::answer::stream;
use crate::door::{DOOR, Door};
use crate::problem::Problem;
use crate::request::{path, query};

/// After this time without a change, a comment shows that the stream goes on, and whoever follows it is checked again.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What clients send that go on where a stream broke off.
const LAST_EVENT_ID: &str = "last-event-id";

pub(super) async fn follow(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Response, Problem> {
    let name = path::table(request.uri())?;
    identity.demand(DOOR, Right::Read, Some(&name))?;
    let arguments = query::arguments(request.uri(), &["since"])?;
    let table = door.table(&name).await?;
    let since = match since(request.headers(), arguments.get("since").map(AsRef::as_ref))? {
        Some(since) => since,
        None => door.cache.version().await?,
    };
    let mut subscription = table.subscribe(since);
    // A version whose changes are gone is an error with a status, not the first event.
    let first = subscription.next(Duration::ZERO).await?;
    let headers = Said::of(since, None, door.cache.blocking().way()).headers();
    let mut events = Vec::new();
    // Whoever breaks off at once goes on here.
    push_version(&mut events, since);
    let stream = Following {
        door,
        identity,
        table: name,
        subscription,
        told: since,
        pending: first,
        events,
        is_over: false,
    };
    let body = Body::from_stream(unfold(stream, |mut stream| async move {
        stream.next().await.map(|part| (Ok::<_, Infallible>(part), stream))
    }));
    let mut response = body.into_response();
    let all = response.headers_mut();
    all.extend(headers);
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// Where to begin: behind the event that a client saw last, or where it says.
fn since(headers: &HeaderMap, argument: Option<&str>) -> Result<Option<Version>, Problem> {
    let last = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty());
    let last = last.map(|last| last.to_str().unwrap_or("not text"));
    let Some(text) = last.or(argument) else { return Ok(None) };
    said::version(text).map(Some).ok_or_else(|| {
        let message =
            "what to begin behind is not a version as `Pillion-Version` and the ids of events show it";
        Problem::bad_request("InvalidArgument", message)
    })
}

/// A stream of events.
struct Following {
    door: Arc<Door>,
    identity: Identity,
    table: String,
    subscription: AsyncSubscription,
    /// The version up to which the client was told that it has everything.
    told: Version,
    /// Changes that came and are no events yet.
    pending: Option<RecordBatch>,
    /// Events that are ready.
    events: Vec<u8>,
    is_over: bool,
}

impl Following {
    /// The next part of the body; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.check();
            if let Some(changes) = self.pending.take() {
                self.tell_version();
                match told(&changes).await {
                    Ok((rows, event)) => {
                        self.events.extend_from_slice(&event);
                        // The rest comes once the client has read this.
                        let left = changes.num_rows() - rows;
                        self.pending = (left > 0).then(|| changes.slice(rows, left));
                    }
                    Err(error) => self.fail(&Problem::of(&error)),
                }
            }
            if !self.events.is_empty() {
                return Some(std::mem::take(&mut self.events).into());
            }
            if self.is_over {
                return None;
            }
            self.wait().await;
        }
    }

    /// Waits for changes, for the end of the door, or for a while.
    async fn wait(&mut self) {
        // What has come already is handed out before the version that it leads to.
        let closing = self.door.closing.clone();
        let next = async {
            match self.subscription.next(Duration::ZERO).await? {
                None if self.subscription.version() == self.told => self.subscription.next(HEARTBEAT).await,
                other => Ok(other),
            }
        };
        let next = tokio::select! {
            next = next => next,
            () = closed(closing) => {
                self.is_over = true;
                return;
            }
        };
        match next {
            Ok(Some(changes)) => self.pending = Some(changes),
            Ok(None) => {
                if !self.tell_version() {
                    self.events.extend_from_slice(b": nothing new\n\n");
                }
            }
            Err(error) => self.fail(&Problem::of(&error)),
        }
    }

    /// Ends the stream if its token may not read the table any more: what it permits may have changed since the stream began.
    fn check(&mut self) {
        if self.is_over {
            return;
        }
        let may = self.door.access.demand_again(DOOR, &self.identity, Right::Read, Some(&self.table));
        if let Err(denied) = may {
            self.events.clear();
            self.pending = None;
            self.fail(&Problem::from(denied));
        }
    }

    /// Tells the version up to which everything was handed out, if it is a new one.
    fn tell_version(&mut self) -> bool {
        let version = self.subscription.version();
        if version == self.told {
            return false;
        }
        self.told = version;
        push_version(&mut self.events, version);
        true
    }

    /// The last event. It is not called `error`, because that is how browsers call an event of their own.
    fn fail(&mut self, problem: &Problem) {
        push_event(&mut self.events, "problem", None, problem.document().to_string().as_bytes());
        self.is_over = true;
    }
}

fn push_version(events: &mut Vec<u8>, version: Version) {
    let version = version.to_string();
    let data = json!({ "version": version }).to_string();
    push_event(events, "version", Some(&version), data.as_bytes());
}

/// As many of the first changes as one event has, and that event.
async fn told(changes: &RecordBatch) -> pillion::Result<(usize, Vec<u8>)> {
    let (rows, len) = encoder::rows_at_once(changes, 0, encoder::PART_ROWS)?;
    let some = changes.slice(0, rows);
    let data = stream::encoding(len, move || encoder::whole(Format::Json, &some)).await?;
    let mut event = Vec::new();
    push_event(&mut event, "changes", None, data.trim_ascii_end());
    Ok((rows, event))
}

/// Data has no line ends: those of texts are escaped in JSON.
fn push_event(events: &mut Vec<u8>, name: &str, id: Option<&str>, data: &[u8]) {
    if let Some(id) = id {
        events.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    events.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    events.extend_from_slice(data);
    events.extend_from_slice(b"\n\n");
}
