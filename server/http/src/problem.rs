//! Errors as clients get them: RFC 9457, with Pillion's code and what to do.

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use pillion::{Error, ErrorCode, ErrorKind};
use pillion_access::Denied;
use pillion_door::Full;
use serde_json::json;

use crate::call::Failed;

/// The media type of problems.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// When to try again, in seconds, for what passes by itself.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// How the cache refuses a statement that writes.
const ONLY_READS: &str = "only statements that read";
/// What to do about that.
const WRITES: &str = "write rows with PUT, DELETE or POST /v1/tables/{table}/rows";
/// The name of the problem that a key has no row, which is no failure.
const NO_SUCH_ROW: &str = "RowNotFound";

/// An error as a client gets it.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// The code of the cache, or a name of the door's own for what only HTTP has.
    name: String,
    code: Option<ErrorCode>,
    kind: Option<ErrorKind>,
    detail: String,
    hint: Option<String>,
    /// Apart, so that results that may be problems stay small.
    headers: Box<HeaderMap>,
}

impl Problem {
    /// A problem that only HTTP has.
    pub(crate) fn new(status: StatusCode, name: &str, detail: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        Self {
            status,
            name: name.to_owned(),
            code: None,
            kind: None,
            detail: detail.into(),
            hint: None,
            headers: Box::new(headers),
        }
    }

    /// Something in the request is not as it should be.
    pub(crate) fn bad_request(name: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, name, detail)
    }

    /// A statement changes something.
    pub(crate) fn is_no_read() -> Self {
        let message = "POST /v1/sql takes statements that read, and this one changes something";
        Self::bad_request("Unsupported", message).hint(WRITES)
    }

    /// There is no row with a key.
    pub(crate) fn no_such_row(detail: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, NO_SUCH_ROW, detail)
    }

    /// The same, told in other words.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// An error of a refresh, for somebody who may not see where rows come from: errors of sources name hosts and users.
    pub(crate) fn of_refresh(error: &Error) -> Self {
        let problem = Self::of(error);
        match error.code() {
            ErrorCode::TableNotFound | ErrorCode::InvalidArgument | ErrorCode::Unsupported => problem,
            _ => problem.detail("the refresh failed; tokens with `administer` see why"),
        }
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with headers beside it.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// The status of the answer.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// An error of rows that the client sent: it is the client who has to mend them, not an operator.
    pub(crate) fn of_rows(error: &Error) -> Self {
        let mut problem = Self::of(error);
        if matches!(error.code(), ErrorCode::SourceInvalid | ErrorCode::SourceNotFound) {
            problem.status = StatusCode::BAD_REQUEST;
            problem.kind = Some(ErrorKind::Request);
        }
        problem
    }

    /// An error of the cache.
    pub(crate) fn of(error: &Error) -> Self {
        let (code, kind) = (error.code(), error.kind());
        // What helps whoever made a mistake is told. Failures of the sidecar name its files, and are for its log only.
        let is_mistake =
            !matches!(kind, ErrorKind::Report | ErrorKind::Reopen) && code != ErrorCode::DiskFull;
        let detail = if is_mistake {
            format!("{error:#}")
        } else {
            tracing::error!(error = format!("{error:#}"), "a request failed");
            format!("the sidecar failed ({code:?}), and its log says why")
        };
        let mut problem = Self::new(status(code), &format!("{code:?}"), detail);
        problem.code = Some(code);
        problem.kind = Some(kind);
        // Others of its code are features that a query engine may have.
        let is_no_read = code == ErrorCode::Unsupported && error.message().starts_with(ONLY_READS);
        problem.hint = if is_no_read { Some(WRITES) } else { hint(code) }.map(str::to_owned);
        if kind == ErrorKind::Retry {
            problem.headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        problem
    }

    /// As what the recorder of the cache counts it; `None` if nothing failed.
    fn counted_as(&self) -> Option<ErrorCode> {
        let of_status = match self.status {
            _ if self.name == NO_SUCH_ROW => return None,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
                ErrorCode::PermissionDenied
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ErrorCode::TooMany,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => ErrorCode::Timeout,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
            status if status.is_server_error() => ErrorCode::Internal,
            _ => ErrorCode::InvalidArgument,
        };
        Some(self.code.unwrap_or(of_status))
    }

    /// The same as a JSON document.
    pub(crate) fn document(&self) -> serde_json::Value {
        let mut document = json!({
            "type": format!("urn:pillion:problem:{}", self.name),
            "title": self.name,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(members) = document.as_object_mut() {
            members.extend(self.code.map(|code| ("code".to_owned(), code.number().into())));
            members.extend(self.kind.map(|kind| ("kind".to_owned(), kind_name(kind).into())));
            members.extend(self.hint.clone().map(|hint| ("hint".to_owned(), hint.into())));
        }
        document
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        let (status, name) = match full {
            Full::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Full::TooLate { .. } => (StatusCode::SERVICE_UNAVAILABLE, "Busy"),
        };
        Self::new(status, name, full.to_string())
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let detail = denied.to_string();
        match denied {
            Denied::NoToken | Denied::UnknownToken => {
                let mut problem = Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", detail)
                    .hint("send the header `Authorization: Bearer TOKEN`");
                problem
                    .headers
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pillion\""));
                problem
            }
            Denied::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "Forbidden", detail)
                .hint("[tokens.NAME] of the sidecar's configuration says what each token permits"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = self.document().to_string();
        let failed = self.counted_as().map(Failed);
        let mut response = (self.status, Body::from(document)).into_response();
        if let Some(failed) = failed {
            response.extensions_mut().insert(failed);
        }
        let headers = response.headers_mut();
        headers.extend(*self.headers);
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        response
    }
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Retry => "retry",
        ErrorKind::Request => "request",
        ErrorKind::Source => "source",
        ErrorKind::OutcomeUnknown => "outcome_unknown",
        ErrorKind::Reopen => "reopen",
        _ => "report",
    }
}

fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::TableNotFound => StatusCode::NOT_FOUND,
        ErrorCode::TableExists | ErrorCode::DuplicateKey => StatusCode::CONFLICT,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::WriteNotAllowed => {
            StatusCode::FORBIDDEN
        }
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::HistoryGone => StatusCode::GONE,
        // A status of its own, so that clients can ask the source instead without reading more than that.
        ErrorCode::NotCovered => StatusCode::FAILED_DEPENDENCY,
        ErrorCode::SourceNotFound
        | ErrorCode::SourceInvalid
        | ErrorCode::SourceUnavailable
        | ErrorCode::SourceRefused => StatusCode::BAD_GATEWAY,
        ErrorCode::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Stale
        | ErrorCode::MemoryLimit
        | ErrorCode::WentBack
        | ErrorCode::Unavailable
        | ErrorCode::Cancelled
        | ErrorCode::DirectoryLocked
        | ErrorCode::Poisoned
        | ErrorCode::Closed => StatusCode::SERVICE_UNAVAILABLE,
        other => match other.kind() {
            ErrorKind::Request => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// What to do about an error of the cache over HTTP, if its message does not say it already.
fn hint(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::TableNotFound => "GET /v1/tables lists the tables",
        ErrorCode::NoPrimaryKey => "use POST /v1/sql to read, and POST /v1/tables/{table}/rows to add rows",
        ErrorCode::InvalidKey => {
            "GET /v1/tables/{table} has the columns of the key; write their values with commas between them, and a comma in a value as %2C"
        }
        ErrorCode::InvalidParameter => {
            "give a value for each of $1, $2, … in `params`; {\"decimal\": \"1.20\"} and the like name a type"
        }
        ErrorCode::NotCovered => {
            "ask the source of the table, or add the condition of `holds`, which GET /v1/tables/{table} shows, to the query"
        }
        ErrorCode::DuplicateKey => "use mode=upsert to replace rows with the same keys",
        ErrorCode::WriteNotAllowed => "GET /v1/tables/{table} has the table's write policy",
        ErrorCode::HistoryGone => {
            "read the table anew, and follow its changes since the version of that answer"
        }
        ErrorCode::WentBack => "ask again: the next answer is of what is there now",
        ErrorCode::MemoryLimit => "ask for fewer rows or groups at a time",
        ErrorCode::DiskFull => "free some space and try again",
        ErrorCode::OutcomeUnknown => "read before you repeat it",
        ErrorCode::Corrupt | ErrorCode::Io | ErrorCode::Internal => "the log of the sidecar has the details",
        ErrorCode::Poisoned | ErrorCode::Closed => "the sidecar is ending: try again once it is started",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_count_as_errors_of_the_cache() {
        let of = |status| Problem::new(status, "Some", "some").counted_as();
        assert_eq!(of(StatusCode::UNAUTHORIZED), Some(ErrorCode::PermissionDenied));
        assert_eq!(of(StatusCode::TOO_MANY_REQUESTS), Some(ErrorCode::TooMany));
        assert_eq!(of(StatusCode::GATEWAY_TIMEOUT), Some(ErrorCode::Timeout));
        assert_eq!(of(StatusCode::NOT_ACCEPTABLE), Some(ErrorCode::InvalidArgument));
        let stale = Problem::of(&Error::new(ErrorCode::Stale, "old"));
        assert_eq!(
            (stale.status(), stale.counted_as()),
            (StatusCode::SERVICE_UNAVAILABLE, Some(ErrorCode::Stale))
        );
        assert_eq!(Problem::no_such_row(String::new()).counted_as(), None, "an answer like any other");
        let missed = Problem::of(&Error::new(ErrorCode::NotCovered, "held: id > 5"));
        assert_eq!(missed.status(), StatusCode::FAILED_DEPENDENCY);
    }
}
