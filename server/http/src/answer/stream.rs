//! An answer as a body: encoded as the client reads it, and never cut so that it looks whole.

use std::io;
use std::time::Duration;

use arrow::array::RecordBatch;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::try_unfold;
use pillion::{BatchStream, Error, ErrorCode, Result, Way};
use pillion_door::said::Said;
use tokio::time::timeout;

use super::encoder::{Encoder, PART_ROWS, rows_at_once};
use super::format::Format;

/// Values of more bytes than this are encoded on a thread that may be busy for a while.
const QUICK_LEN: u64 = 32 << 10;
/// How many times as many rows as the part before a part may have.
const GROWTH: usize = 4;

/// An answer that is being written.
struct Writing {
    batches: BatchStream,
    /// `None` while another thread has it, and after that failed.
    encoder: Option<Encoder>,
    /// A batch of which rows are left to write, from this one on.
    current: Option<(RecordBatch, usize)>,
    /// The most rows of the next part.
    most: usize,
    is_over: bool,
}

/// Answers with the rows of a query. What fails before the first rows is an error with a status. What fails later ends the body
/// without its end, which clients see as a broken connection; so does a part that is not ready after `limit`, in which the time
/// that the client takes to read does not count. Dropping the body cancels the query.
///
/// # Errors
/// Those of the query until its first rows, and those of [`Encoder::new`].
pub(crate) async fn answer(
    mut batches: BatchStream,
    format: Format,
    way: Way,
    limit: Duration,
) -> Result<Response> {
    let headers = Said::of_stream(&batches, way).headers();
    let encoder = Some(Encoder::new(format, batches.schema())?);
    let first = batches.next().await.transpose()?;
    let current = first.map(|first| (first, 0));
    let mut writing = Writing { batches, encoder, current, most: PART_ROWS, is_over: false };
    // The first part is encoded now, because it may fail as well.
    let first = writing.next().await?;
    let first = futures::stream::iter(first.map(Ok::<_, io::Error>));
    let rest = try_unfold(writing, move |mut writing| async move {
        // Asked only once the client has room for it.
        let next = match timeout(limit, writing.next()).await {
            Ok(next) => next,
            Err(_) => {
                let message = format!("no more of the answer was ready after {limit:?}");
                Err(Error::new(ErrorCode::Timeout, message))
            }
        };
        match next {
            Ok(Some(part)) => Ok(Some((part, writing))),
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::info!(error = format!("{error:#}"), "an answer broke off");
                Err(io::Error::other(error))
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

/// Encodes values of so many bytes: at once, or on a thread that may be busy for a while.
///
/// # Errors
/// Those of the work.
pub(crate) async fn encoding<T: Send + 'static>(
    len: u64,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if len <= QUICK_LEN {
        return work();
    }
    let panicked = |_| Error::new(ErrorCode::Internal, "a thread that encoded an answer panicked");
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
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
                    let (len, bytes) = rows_at_once(&batch, from, self.most)?;
                    self.most = len.saturating_mul(GROWTH).clamp(1, PART_ROWS);
                    let some = batch.slice(from, len);
                    if from + len < batch.num_rows() {
                        self.current = Some((batch, from + len));
                    }
                    let encode = move |encoder: &mut Encoder| encoder.write(&some);
                    self.encode(bytes, encode).await?
                }
                None => match self.batches.next().await.transpose()? {
                    Some(batch) => {
                        self.current = Some((batch, 0));
                        continue;
                    }
                    None => {
                        self.is_over = true;
                        self.encode(0, Encoder::finish).await?
                    }
                },
            };
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
    }

    async fn encode(
        &mut self,
        len: u64,
        encode: impl FnOnce(&mut Encoder) -> Result<Bytes> + Send + 'static,
    ) -> Result<Bytes> {
        let Some(mut encoder) = self.encoder.take() else {
            return Err(Error::new(ErrorCode::Internal, "an answer went on after it had failed"));
        };
        let (encoder, part) = encoding(len, move || {
            let part = encode(&mut encoder)?;
            Ok((encoder, part))
        })
        .await?;
        self.encoder = Some(encoder);
        Ok(part)
    }
}
