//! Credentials: what is shown to the server with every call.

use arrow_flight::HandshakeRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{TryStreamExt, stream};
use pillion::{Error, ErrorCode, Result};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, BinaryMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::failures::Failures;
use crate::options::FlightSqlOptions;

const AUTHORIZATION: &str = "authorization";
/// Where servers of older kinds expect the token that they gave.
const TOKEN: &str = "auth-token-bin";
const BEARER: &str = "Bearer ";

/// Credentials as they are now. There is no `Debug`, so nothing shows them.
pub(crate) struct Credentials {
    headers: MetadataMap,
    user: Option<(String, String)>,
    /// What no message may contain.
    pub(crate) hidden: Vec<String>,
}

impl Credentials {
    /// Reads them from where they are. Blocks on files and on functions of the user's.
    pub(crate) fn read(options: &FlightSqlOptions) -> Result<Self> {
        let mut credentials = Self { headers: MetadataMap::new(), user: None, hidden: Vec::new() };
        for (name, secret) in &options.headers {
            let text = secret.read()?;
            let key = AsciiMetadataKey::from_bytes(name.as_bytes()).map_err(|_| {
                Error::new(ErrorCode::InvalidArgument, format!("`{name}` cannot be the name of a header"))
            })?;
            credentials.headers.append(key, header(&text, &format!("the header `{name}`"))?);
            credentials.hidden.push(text);
        }
        if let Some(secret) = &options.token {
            let token = secret.read()?;
            credentials.headers.insert(AUTHORIZATION, header(&format!("{BEARER}{token}"), "the token")?);
            credentials.hidden.push(token);
        }
        if let Some(user) = &options.user {
            let password = options.password.as_ref().map_or(Ok(String::new()), |secret| secret.read())?;
            credentials.hidden.push(password.clone());
            credentials.user = Some((user.clone(), password));
        }
        Ok(credentials)
    }

    /// Logs in where that is asked for, and gives what every call has to show.
    pub(crate) async fn log_in(
        self,
        client: &mut FlightServiceClient<Channel>,
        failures: &mut Failures,
    ) -> Result<MetadataMap> {
        let Self { mut headers, user, .. } = self;
        let Some((user, password)) = user else { return Ok(headers) };
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let basic = header(&format!("Basic {encoded}"), "the user and the password")?;
        failures.hide(encoded);
        let mut request = Request::new(stream::iter([HandshakeRequest::default()]));
        *request.metadata_mut() = headers.clone();
        request.metadata_mut().insert(AUTHORIZATION, basic.clone());
        let answer = match client.handshake(request).await {
            Ok(answer) => answer,
            // Some servers have no handshake, and look at the password of every call.
            Err(status) if status.code() == Code::Unimplemented => {
                headers.insert(AUTHORIZATION, basic);
                return Ok(headers);
            }
            Err(status) => return Err(failures.of_call("the login", &status)),
        };
        let given = answer.metadata().get(AUTHORIZATION).cloned();
        let payloads: Vec<_> = answer
            .into_inner()
            .map_ok(|answer| answer.payload)
            .try_collect()
            .await
            .map_err(|status| failures.of_call("the login", &status))?;
        let payload = payloads.into_iter().find(|payload| !payload.is_empty());
        match (given, payload) {
            (Some(mut given), _) => {
                given.set_sensitive(true);
                if let Ok(text) = given.to_str() {
                    failures.hide(text.trim_start_matches(BEARER).to_owned());
                }
                headers.insert(AUTHORIZATION, given);
            }
            (None, Some(payload)) => {
                if let Ok(token) = std::str::from_utf8(&payload)
                    && let Ok(value) = header(&format!("{BEARER}{token}"), "the token")
                {
                    failures.hide(token.to_owned());
                    headers.insert(AUTHORIZATION, value);
                }
                let mut token = BinaryMetadataValue::from_bytes(&payload);
                token.set_sensitive(true);
                headers.insert_bin(TOKEN, token);
            }
            // A server that gives no token knows the connection, or looks at the password of every call.
            (None, None) => {
                headers.insert(AUTHORIZATION, basic);
            }
        }
        Ok(headers)
    }
}

/// The value of a header, which no log shows.
fn header(text: &str, what: &str) -> Result<AsciiMetadataValue> {
    let mut value = AsciiMetadataValue::try_from(text).map_err(|_| {
        let message = format!("{what} cannot be sent: it has letters that no header has, such as line ends");
        Error::new(ErrorCode::SourceRefused, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_in_a_token_is_refused_without_showing_it() {
        let options =
            FlightSqlOptions::from_url("grpc://db:1").unwrap().token(crate::Secret::from("SECRET\nx"));
        let error = Credentials::read(&options).err().unwrap();
        assert_eq!(error.code(), ErrorCode::SourceRefused);
        assert!(error.message().contains("the token") && !format!("{error:?}").contains("SECRET"), "{error}");
    }
}
