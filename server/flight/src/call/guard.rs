//! What every call passes before it reaches its handler: who makes it, and whether there is room.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use pillion::Freshness;
use pillion_door::said::{Said, VERSION};
use pillion_door::{Busy, Place};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::body::{Asked, Call};
use super::connection::Ending;
use super::login;
use crate::door::{DOOR, Door};
use crate::service::Service;
use crate::status;

/// What browsers say of the page that a request is for. No client of Flight SQL sends them.
const OF_BROWSERS: [&str; 2] = ["origin", "sec-fetch-site"];
/// What stands before the name of a call in its path.
const SERVICE: &str = "/arrow.flight.protocol.FlightService/";

/// A call that has a place. Whoever works for it on another thread keeps this, because that work goes on when the client is gone.
#[derive(Clone, Debug)]
pub(crate) struct Admitted(#[expect(dead_code, reason = "held")] Arc<Place>);

impl Admitted {
    pub(crate) fn new(place: Place) -> Self {
        Self(Arc::new(place))
    }
}

/// Answers a call; errors are answers too. `busy` says that the connection is not idle.
pub(crate) async fn serve(
    door: Arc<Door>,
    request: Request<Incoming>,
    busy: Busy,
    ending: Arc<Ending>,
) -> Response<Body> {
    let name = request.uri().path().strip_prefix(SERVICE).unwrap_or_default().to_owned();
    let call = Call::begin(&door, &name);
    let request = request.map(|body| call.asked(body));
    let admitted = AssertUnwindSafe(admit(&door, &name, request, call.operation())).catch_unwind().await;
    let (mut response, place) = match admitted {
        Ok(Ok((response, place))) => (response, Some(place)),
        Ok(Err(status)) => (status.into_http(), None),
        Err(_) => (status::defect("the handler of the call panicked").into_http(), None),
    };
    let refused = response.extensions().get::<Status>().map(Status::code);
    if refused == Some(Code::Unauthenticated) {
        // Nobody knows who asks: nothing is said of the cache.
        ending.refused();
    } else {
        say_version(&door, response.headers_mut());
    }
    call.answered(response, (place, busy), ending)
}

async fn admit(
    door: &Arc<Door>,
    name: &str,
    mut request: Request<Body>,
    asked: Asked,
) -> Result<(Response<Body>, Admitted), Status> {
    refuse_browsers(door, request.headers())?;
    let options = &door.options;
    let limit = match name {
        "DoPut" | "DoExchange" => options.upload_timeout,
        _ => options.request_timeout,
    };
    let started = Instant::now();
    let token = login::token(request.headers());
    let identity = door.access.identify(DOOR, token.as_deref());
    let identity = identity.map_err(|denied| status::denied(&denied))?;
    let place = door.requests.enter(identity.name(), limit).await;
    let admitted = Admitted::new(place.map_err(status::full)?);
    request.extensions_mut().insert(identity);
    request.extensions_mut().insert(admitted.clone());
    request.extensions_mut().insert(asked.clone());
    let service = FlightServiceServer::new(Service::new(door.clone()))
        .max_decoding_message_size(options.request_bytes_max);
    let mut serving = pin!(service.oneshot(request));
    let mut answer = timeout(limit.saturating_sub(started.elapsed()), serving.as_mut()).await;
    let mut limit = limit;
    // What a ticket stands for is known only once it is read.
    if answer.is_err() && asked.changes_tables() && limit < options.upload_timeout {
        limit = options.upload_timeout;
        answer = timeout(limit.saturating_sub(started.elapsed()), serving).await;
    }
    match answer {
        Ok(Ok(response)) => Ok((response, admitted)),
        Ok(Err(never)) => match never {},
        Err(_) => Err(too_late(&asked, limit)),
    }
}

fn too_late(asked: &Asked, limit: Duration) -> Status {
    let after = format!("(after {limit:?}, the limit in [flight_sql] of the sidecar's configuration)");
    match asked.changes_tables() {
        true => {
            let what = "it was not done, and may or may not take effect: read before you repeat it";
            status::outcome_unknown(Code::DeadlineExceeded, format!("{what} {after}"))
        }
        false => status::late(format!("the answer had not begun, and was given up {after}")),
    }
}

/// Refuses what a browser sends for a page: this door has none.
fn refuse_browsers(door: &Door, headers: &HeaderMap) -> Result<(), Status> {
    if OF_BROWSERS.iter().all(|name| !headers.contains_key(*name)) {
        return Ok(());
    }
    door.access.denials().count(DOOR, &"a call from a web page");
    let code = pillion::ErrorCode::PermissionDenied;
    Err(status::with_code(Code::PermissionDenied, code, "this door answers no web pages"))
}

/// Answers that did not say which version they saw, such as errors, say the newest.
fn say_version(door: &Door, headers: &mut HeaderMap) {
    if headers.contains_key(VERSION) {
        return;
    }
    if let Ok(version) = door.cache.blocking().version() {
        let none: Option<Freshness> = None;
        headers.extend(Said::of(version, none, door.way()).brief_headers());
    }
}
