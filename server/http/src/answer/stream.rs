//! An answer as a body: encoded as the client reads it, and never cut so that it looks whole.

use std::io;

use arrow::array::RecordBatch;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::try_unfold;
use pillion::{BatchStream, Result, Way};

use super::encoder::Encoder;
use super::format::Format;
use super::said::Said;

/// An answer that is being written.
struct Writing {
    batches: BatchStream,
    encoder: Encoder,
    /// A batch of which rows are left to write, from this one on.
    current: Option<(RecordBatch, usize)>,
    is_over: bool,
}

/// Answers with the rows of a query. What fails before the first rows is an error with a status. What fails later ends the body
/// without its end, which clients see as a broken connection. Dropping the body cancels the query.
///
/// # Errors
/// Those of the query until its first rows, and those of [`Encoder::new`].
pub(crate) async fn answer(mut batches: BatchStream, format: Format, way: Way) -> Result<Response> {
    let headers = Said::of_stream(&batches, way).headers();
    let encoder = Encoder::new(format, batches.schema())?;
    let first = batches.next().await.transpose()?;
    let mut writing = Writing { batches, encoder, current: first.map(|first| (first, 0)), is_over: false };
    // The first part is encoded now, because it may fail as well.
    let first = writing.next().await?;
    let first = futures::stream::iter(first.map(Ok::<_, io::Error>));
    let rest = try_unfold(writing, |mut writing| async move {
        match writing.next().await {
            Ok(Some(part)) => Ok(Some((part, writing))),
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::info!(error = format!("{error:#}"), "an answer broke off");
                Err(io::Error::other(error.message().to_owned()))
            }
        }
    });
    Ok(rows(headers, format, Body::from_stream(first.chain(rest))))
}

/// An answer of rows.
pub(crate) fn rows(headers: HeaderMap, format: Format, body: Body) -> Response {
    let mut response = body.into_response();
    response.headers_mut().extend(headers);
    response.headers_mut().insert(header::CONTENT_TYPE, format.content_type());
    response
}

impl Writing {
    /// The next part of the body. Never an empty one, except that `None` is its end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            let part = match self.current.take() {
                Some((batch, from)) => {
                    let len = self.encoder.rows_at_once().min(batch.num_rows() - from);
                    let part = self.encoder.write(&batch.slice(from, len))?;
                    if from + len < batch.num_rows() {
                        self.current = Some((batch, from + len));
                    }
                    part
                }
                None => match self.batches.next().await.transpose()? {
                    Some(batch) => {
                        self.current = Some((batch, 0));
                        continue;
                    }
                    None => {
                        self.is_over = true;
                        self.encoder.finish()?
                    }
                },
            };
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
    }
}
