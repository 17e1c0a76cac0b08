//! Rows on their way from the servers that have them: endpoint after endpoint, in their order.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightEndpoint, FlightInfo};
use futures::{StreamExt, TryStreamExt};
use pillion::files::check_arrow_message;
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};

use crate::address::Address;
use crate::options::FlightSqlOptions;
use crate::session::Session;

/// Reads what the server points to, with the session of a call and with one of another server where rows are elsewhere.
pub(crate) struct Reader {
    options: Arc<FlightSqlOptions>,
    call: Call,
    session: Session,
    /// The other server that was asked last.
    other: Option<(Address, Session)>,
}

/// The rows of one endpoint.
pub(crate) struct EndpointRows {
    decoder: FlightDataDecoder,
    session: Session,
}

/// What comes of an endpoint.
pub(crate) enum Arrived {
    Columns(SchemaRef),
    Rows(RecordBatch),
}

impl Reader {
    pub(crate) async fn open(options: Arc<FlightSqlOptions>, call: Call) -> Result<Self> {
        let session = Session::open(&options, &options.address, &call).await?;
        Ok(Self { options, call, session, other: None })
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Begins to read an endpoint, from the first of its addresses at which a server answers.
    pub(crate) async fn endpoint(&mut self, endpoint: &FlightEndpoint, what: &str) -> Result<EndpointRows> {
        let named = |error: Error| error.context(self.session.failures().place());
        let ticket = endpoint.ticket.clone().ok_or_else(|| {
            named(Error::new(
                ErrorCode::SourceInvalid,
                "the server names rows without a ticket to fetch them by",
            ))
        })?;
        let addresses = self.options.locations.of(endpoint, &self.options.address).map_err(named)?;
        let mut failure = None;
        for address in addresses {
            let begun = match self.at(address).await {
                Ok(session) => match session.rows(ticket.clone()).await {
                    Ok(messages) => return Ok(EndpointRows::new(messages, session)),
                    Err(status) => Err(session.failures().of_call(what, &status)),
                },
                Err(error) => Err(error),
            };
            match begun {
                Err(error) if error.code() == ErrorCode::SourceUnavailable => {
                    // The first failure is shown: it is of the place that was meant to serve.
                    failure = failure.or(Some(error));
                }
                other => return other,
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorCode::Internal, "an endpoint had no address")))
    }

    /// The session of a server; `None` stands for that of the source itself.
    async fn at(&mut self, address: Option<Address>) -> Result<Session> {
        let Some(address) = address else { return Ok(self.session.clone()) };
        match &self.other {
            Some((known, session)) if *known == address => Ok(session.clone()),
            _ => {
                let session = Session::open(&self.options, &address, &self.call).await?;
                self.other = Some((address, session.clone()));
                Ok(session)
            }
        }
    }

    /// All rows of a small answer.
    pub(crate) async fn all(&mut self, info: FlightInfo, what: &str) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for endpoint in &info.endpoint {
            let mut rows = self.endpoint(endpoint, what).await?;
            while let Some(arrived) = rows.next().await? {
                if let Arrived::Rows(batch) = arrived {
                    batches.push(batch);
                }
            }
        }
        Ok(batches)
    }
}

impl EndpointRows {
    fn new(messages: tonic::Streaming<arrow_flight::FlightData>, session: Session) -> Self {
        let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status))).and_then(|message| {
            // Messages that only say something about the application have no header.
            let is_sound = match message.data_header.is_empty() {
                true => Ok(()),
                false => check_arrow_message(&message.data_header, &message.data_body),
            };
            std::future::ready(is_sound.map(|()| message).map_err(FlightError::Arrow))
        });
        Self { decoder: FlightDataDecoder::new(messages), session }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Arrived>> {
        loop {
            let Some(message) = self.decoder.next().await else { return Ok(None) };
            match message.map_err(|error| self.session.failures().of_rows(error))?.payload {
                DecodedPayload::None => {}
                DecodedPayload::Schema(columns) => return Ok(Some(Arrived::Columns(columns))),
                DecodedPayload::RecordBatch(batch) => return Ok(Some(Arrived::Rows(batch))),
            }
        }
    }
}
