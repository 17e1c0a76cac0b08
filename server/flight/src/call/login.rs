//! Who makes a call: tokens in headers and as passwords, and handshakes.

use std::borrow::Cow;

use arrow_flight::HandshakeResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use http::{HeaderMap, header};
use pillion_access::Denied;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Response, Status};

use crate::door::{DOOR, Door};
use crate::status;

/// The token in the headers of a call: that of a bearer, or the password of any user. `None` without one; what is no token is a wrong
/// one.
pub(crate) fn token(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => None,
        (Some(one), None) => {
            let value = one.as_bytes();
            let bearer = behind(value, b"bearer ").map(Cow::Borrowed);
            Some(bearer.or_else(|| password(behind(value, b"basic ")?)).unwrap_or_default())
        }
        // Several at a time are wrong ones.
        (Some(_), Some(_)) => Some(Cow::Borrowed(&[])),
    }
}

/// What follows a scheme, in letters of any case.
fn behind<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = value.split_at_checked(scheme.len())?;
    found.eq_ignore_ascii_case(scheme).then_some(rest.trim_ascii())
}

/// The password in what a client says of its user and its password.
fn password(encoded: &[u8]) -> Option<Cow<'static, [u8]>> {
    let decoded = BASE64_STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.get(colon + 1..).map(|password| Cow::Owned(password.to_vec()))
}

/// Answers a handshake with the token that its client has shown in its headers, as clients expect one to show from then on.
///
/// # Errors
/// `UNAUTHENTICATED`.
pub(crate) fn handshake(
    door: &Door,
    headers: &HeaderMap,
) -> Result<Response<BoxStream<'static, Result<HandshakeResponse, Status>>>, Status> {
    // Where no token is needed, a login without one is still none.
    let Some(token) = token(headers) else {
        let denied = Denied::NoToken;
        door.access.denials().count(DOOR, &denied);
        return Err(status::denied(&denied));
    };
    let answer = HandshakeResponse { protocol_version: 0, payload: Bytes::copy_from_slice(&token) };
    let mut response = Response::new(stream::iter([Ok(answer)]).boxed());
    let mut bearer = b"Bearer ".to_vec();
    bearer.extend_from_slice(&token);
    if let Ok(mut value) = AsciiMetadataValue::try_from(bearer) {
        value.set_sensitive(true);
        response.metadata_mut().insert("authorization", value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn bearers_and_passwords_show_tokens() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::try_from(text).unwrap());
            token(&headers).unwrap().into_owned()
        };
        assert_eq!(of("Bearer abc"), b"abc");
        assert_eq!(of("bearer  abc "), b"abc");
        // `user:a:b`
        assert_eq!(of("Basic dXNlcjphOmI="), b"a:b");
        for wrong in ["", "Bearer", "Bearerabc", "Basic", "Basic abc", "Basic dXNlcg==", "Digest abc"] {
            assert_eq!(of(wrong), b"", "{wrong}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }
}
