//! What every request passes before it reaches its route: where it is addressed to, who sent it, and whether there is room.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use pillion::Freshness;
use pillion_access::{Denied, Identity};
use pillion_door::Place;
use pillion_door::said::{Said, VERSION};
use tower::ServiceExt;

use crate::call::Call;
use crate::door::{DOOR, Door};
use crate::problem::Problem;

/// What browsers say of the page that a request is for.
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// Pages of the door itself, and addresses that a person typed.
const OWN_SITES: [&[u8]; 2] = [b"same-origin", b"none"];

/// A request that has a place. Whoever works for it on another thread keeps this, because that work goes on when the client is gone.
#[derive(Clone, Debug)]
pub(crate) struct Admitted(#[expect(dead_code, reason = "held")] Arc<Place>);

impl Admitted {
    pub(crate) fn new(place: Place) -> Self {
        Self(Arc::new(place))
    }
}

/// Answers a request; problems are answers too.
pub(crate) async fn serve(door: Arc<Door>, router: Router<()>, request: Request<Body>) -> Response {
    door.counts.requests.fetch_add(1, Ordering::Relaxed);
    let call = Call::begin(&door, &request);
    let request = request.map(|body| call.asked(body));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match admit(&door, &router, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    // Answers are of a moment, and are no pages.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_stranger(response.status()) {
        // Strangers hold no connections.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    call.answered(response)
}

/// Whether an answer is for somebody who has no business here.
fn is_stranger(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST)
}

async fn admit(
    door: &Arc<Door>,
    router: &Router<()>,
    mut request: Request<Body>,
) -> Result<Response, Problem> {
    if request.version() < Version::HTTP_11 {
        // Its answers end with the connection, so that one that breaks off looks whole.
        let message =
            "HTTP/1.1 is needed: older versions cannot tell an answer that broke off from a whole one";
        return Err(Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "HttpVersion", message));
    }
    check_host(door, &request)?;
    check_origin(door, request.headers())?;
    let identity = identify(door, request.headers())?;
    let kind = Kind::of(&request);
    let limit = kind.limit(door);
    let started = Instant::now();
    let place = match kind {
        Kind::Stream => door.streams.enter(identity.name(), limit).await?,
        Kind::Upload => door.uploads.enter(identity.name(), limit).await?,
        Kind::Ordinary | Kind::Write | Kind::Refresh => door.requests.enter(identity.name(), limit).await?,
    };
    let admitted = Admitted::new(place);
    request.extensions_mut().insert(identity);
    request.extensions_mut().insert(admitted.clone());
    let left = limit.saturating_sub(started.elapsed());
    let answered = tokio::time::timeout(left, router.clone().oneshot(request)).await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => kind.too_late(limit).into_response(),
    };
    say_version(door, &mut response);
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, holding(body, admitted)))
}

/// A body that keeps something until its last byte is handed on or its client is gone.
pub(crate) fn holding(body: Body, held: impl Send + Unpin + 'static) -> Body {
    Body::new(Held { body, _held: held })
}

/// What a request asks of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Write,
    Upload,
    Refresh,
    Stream,
}

impl Kind {
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let is_below_tables = path.starts_with("/v1/tables/");
        match *request.method() {
            Method::GET if is_below_tables && path.ends_with("/changes") => Self::Stream,
            Method::POST if is_below_tables && path.ends_with("/rows") => Self::Upload,
            Method::POST if is_below_tables && path.ends_with("/refresh") => Self::Refresh,
            Method::PUT | Method::DELETE => Self::Write,
            _ => Self::Ordinary,
        }
    }

    /// How long it may take until its answer begins.
    fn limit(self, door: &Door) -> Duration {
        match self {
            Self::Upload => door.options.upload_timeout,
            _ => door.options.request_timeout,
        }
    }

    fn too_late(self, limit: Duration) -> Problem {
        match self {
            Self::Write | Self::Upload => {
                let message =
                    format!("the write was not done after {limit:?}; it may or may not take effect");
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "OutcomeUnknown", message)
                    .hint("read before you repeat it")
            }
            Self::Refresh => {
                let message = format!("the refresh was not done after {limit:?}; it goes on");
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "StillRefreshing", message)
                    .hint("GET /v1/tables/{table} shows under `refresh` how it stands")
            }
            Self::Ordinary | Self::Stream => {
                let message = format!("the answer had not begun after {limit:?}, and was given up");
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
                    .hint("`request_timeout` of the sidecar's configuration is the limit")
            }
        }
    }
}

/// Refuses hosts that nobody named: a web page whose owner points a name of theirs to this machine comes with that name.
fn check_host<B>(door: &Door, request: &Request<B>) -> Result<(), Problem> {
    if !door.options.has_hosts() {
        return Ok(());
    }
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let Some(host) = host else {
        return Err(Problem::bad_request("InvalidHost", "a request needs one `Host` that is text"));
    };
    let several = request.headers().get_all(header::HOST).iter().count() > 1;
    if !several && is_known(&door.options.hosts, host) {
        return Ok(());
    }
    door.access.denials().count(DOOR, &format_args!("a request for the host `{host}`"));
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "UnknownHost",
        "this door does not serve the host that the request names",
    )
    .hint("`hosts` in [http] of the sidecar's configuration lists the names by which clients reach it"))
}

/// Whether a host, with or without a port, is an address, `localhost` or one of these names.
fn is_known(hosts: &[String], host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    name == "localhost" || address.parse::<IpAddr>().is_ok() || hosts.contains(&name)
}

/// Refuses requests that a browser sends for a page of somebody else.
fn check_origin(door: &Door, headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |shown: &[u8]| {
        let shown = String::from_utf8_lossy(shown).into_owned();
        door.access.denials().count(DOOR, &format_args!("a request from a page of `{shown}`"));
        let message = "this door answers no web pages of other origins";
        Err(Problem::new(StatusCode::FORBIDDEN, "ForeignOrigin", message))
    };
    // Browsers send no origin for images and links, but say where the page comes from.
    let site = headers.get_all(SEC_FETCH_SITE).iter();
    if let Some(site) = site.map(HeaderValue::as_bytes).find(|site| !OWN_SITES.contains(site)) {
        return refused(site);
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
    if authority.is_some() && authority == host {
        return Ok(());
    }
    refused(origin.as_bytes())
}

fn identify(door: &Door, headers: &HeaderMap) -> Result<Identity, Denied> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (all.next(), all.next()) {
        (None, _) => None,
        // What is not a bearer's token, and several at a time, are wrong tokens.
        (Some(one), None) => Some(bearer(one).unwrap_or_default()),
        (Some(_), Some(_)) => Some(&[][..]),
    };
    door.access.identify(DOOR, token)
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
}

/// Answers that did not say which version they saw, such as problems, say the newest.
fn say_version(door: &Door, response: &mut Response) {
    if response.headers().contains_key(VERSION) || !door.is_local() {
        return;
    }
    let cache = door.cache.blocking();
    if let Ok(version) = cache.version() {
        let none: Option<Freshness> = None;
        response.headers_mut().extend(Said::of(version, none, cache.way()).headers());
    }
}

/// A body that keeps something for as long as it is there.
struct Held<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_named_hosts_are_known() {
        let hosts = ["pillion.internal".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "10.1.2.3:1",
            "pillion.internal",
            "Pillion.Internal.:8080",
        ] {
            assert!(is_known(&hosts, host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "pillion.internal.evil.example",
            "localhost@evil.example",
            "localhost:80@evil.example",
            "localhost:evil",
        ] {
            assert!(!is_known(&hosts, host), "{host}");
        }
    }

    #[test]
    fn only_bearers_show_tokens() {
        let of = |text: &'static str| bearer(&HeaderValue::from_static(text)).map(<[u8]>::to_vec);
        assert_eq!(of("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(of("bearer  abc "), Some(b"abc".to_vec()));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("Bearer"), None);
        assert_eq!(of("Bearerabc"), None);
    }

    #[test]
    fn what_came_too_late_says_what_goes_on() {
        let told = |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            let problem = Kind::of(&request).too_late(Duration::from_secs(1)).document();
            assert_eq!(problem["status"], 504);
            (problem["title"].as_str().unwrap().to_owned(), problem["detail"].as_str().unwrap().to_owned())
        };
        let (title, detail) = told("POST", "/v1/tables/items/refresh");
        assert_eq!((title.as_str(), detail.ends_with("it goes on")), ("StillRefreshing", true), "{detail}");
        assert_eq!(told("POST", "/v1/sql").0, "Timeout");
        for (method, path) in [
            ("POST", "/v1/tables/items/rows"),
            ("PUT", "/v1/tables/items/1"),
            ("DELETE", "/v1/tables/items/1"),
        ] {
            let (title, detail) = told(method, path);
            assert_eq!(
                (title.as_str(), detail.contains("may or may not")),
                ("OutcomeUnknown", true),
                "{detail}"
            );
        }
    }
}
