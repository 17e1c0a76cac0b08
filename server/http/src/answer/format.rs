//! The format of an answer's rows, by what a client accepts.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::problem::Problem;

/// What rows are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A list of objects.
    Json,
    /// Objects, one a line.
    NdJson,
    /// CSV with a header line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

/// Media types and what they stand for. The first of each format is the one that answers name.
const MEDIA_TYPES: [(&str, Format); 8] = [
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::NdJson),
    ("application/ndjson", Format::NdJson),
    ("application/jsonl", Format::NdJson),
    ("application/x-jsonlines", Format::NdJson),
    ("text/csv", Format::Csv),
    ("application/vnd.apache.arrow.stream", Format::Arrow),
    ("application/vnd.apache.arrow.stream+ipc", Format::Arrow),
];

impl Format {
    /// The format that a client likes best, by the weights of `Accept`; JSON if it takes anything.
    ///
    /// # Errors
    /// 406 if it takes none of ours.
    pub(crate) fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut best: Option<(u32, Self)> = None;
        let mut asked = false;
        for header in headers.get_all(header::ACCEPT) {
            let text = header.to_str().unwrap_or_default();
            for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
                asked = true;
                let (name, weight) = weighed(range);
                let found = match name.as_str() {
                    "*/*" | "application/*" => Some(Self::Json),
                    "text/*" => Some(Self::Csv),
                    name => Self::of(name),
                };
                // Of several that are liked equally, the first counts.
                if let Some(format) = found
                    && weight > best.map_or(0, |(weight, _)| weight)
                {
                    best = Some((weight, format));
                }
            }
        }
        match (best, asked) {
            (Some((_, format)), _) => Ok(format),
            (None, false) => Ok(Self::Json),
            (None, true) => {
                let names: Vec<&str> =
                    [Self::Json, Self::NdJson, Self::Csv, Self::Arrow].map(Self::media_type).into();
                let message = format!("rows come as {}, and `Accept` names none of them", names.join(", "));
                Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message))
            }
        }
    }

    /// The format of a media type in lower case, without its parameters.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        MEDIA_TYPES.iter().find(|(name, _)| *name == media_type).map(|(_, format)| *format)
    }

    /// The media type that answers name.
    pub(crate) fn media_type(self) -> &'static str {
        MEDIA_TYPES.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| *name)
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            other => other.media_type(),
        })
    }
}

/// A range of `Accept` in lower case, and its weight in thousandths.
fn weighed(range: &str) -> (String, u32) {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let weight = quality.map_or(Some(1.0), |quality| quality.parse::<f64>().ok()).unwrap_or(0.0);
    // In bounds after `clamp`, and a NaN becomes 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    let thousandths = (weight.clamp(0.0, 1.0) * 1000.0).round() as u32;
    (name, thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_they_like_best() {
        let accepted = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for text in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(text));
            }
            Format::accepted(&headers).map_err(|problem| problem.status())
        };
        assert_eq!(accepted(&[]), Ok(Format::Json));
        assert_eq!(accepted(&["*/*"]), Ok(Format::Json));
        assert_eq!(accepted(&["text/csv"]), Ok(Format::Csv));
        assert_eq!(accepted(&["Text/CSV; charset=utf-8"]), Ok(Format::Csv));
        assert_eq!(accepted(&["text/csv;q=0.5, application/x-ndjson"]), Ok(Format::NdJson));
        assert_eq!(accepted(&["text/html", "application/vnd.apache.arrow.stream"]), Ok(Format::Arrow));
        assert_eq!(accepted(&["text/html,application/xhtml+xml,*/*;q=0.8"]), Ok(Format::Json));
        assert_eq!(accepted(&["application/json;q=0"]), Err(StatusCode::NOT_ACCEPTABLE));
        assert_eq!(accepted(&["application/json;q=NaN"]), Err(StatusCode::NOT_ACCEPTABLE));
        assert_eq!(accepted(&["application/xml"]), Err(StatusCode::NOT_ACCEPTABLE));
    }
}
