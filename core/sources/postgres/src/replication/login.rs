//! Logging in on a connection that streams changes.

use bytes::BytesMut;
use pillion::{Error, ErrorCode, Result};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;

use super::command::ServerError;
use super::messages::{Messages, ServerMessage, texts};

/// Numbers of requests for authentication.
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// Who logs in.
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) password: Option<&'a str>,
    pub(super) database: Option<&'a str>,
    pub(super) application_name: &'a str,
    pub(super) session_options: Option<&'a str>,
    pub(super) binding: Option<Vec<u8>>,
}

/// What the server says of itself and of the session.
#[derive(Debug, Default)]
pub(super) struct Welcome {
    pub(super) version: String,
    pub(super) process: i32,
    pub(super) secret: i32,
}

impl Login<'_> {
    /// Logs in for a session that streams changes of the database, and that takes other commands too.
    pub(super) async fn run(self, messages: &mut Messages) -> Result<Welcome> {
        let mut parameters = vec![
            ("user", self.user),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", self.application_name),
        ];
        parameters.extend(self.database.map(|database| ("database", database)));
        parameters.extend(self.session_options.map(|options| ("options", options)));
        let mut start = BytesMut::new();
        frontend::startup_message(parameters, &mut start).map_err(unusable)?;
        messages.send(&start).await?;
        self.authenticate(messages).await?;
        welcome(messages).await
    }

    async fn authenticate(&self, messages: &mut Messages) -> Result<()> {
        loop {
            let (request, rest) = asked(messages).await?;
            match request {
                OK => return Ok(()),
                CLEARTEXT => send_password(messages, self.password(messages)?.as_bytes()).await?,
                MD5 => {
                    let salt = rest.get(..4).and_then(|salt| <[u8; 4]>::try_from(salt).ok());
                    let salt = salt.ok_or_else(|| messages.invalid("the server sends no salt"))?;
                    let hash = md5_hash(self.user.as_bytes(), self.password(messages)?.as_bytes(), salt);
                    send_password(messages, hash.as_bytes()).await?;
                }
                SASL => {
                    self.scram(messages, &rest).await?;
                }
                other => {
                    return Err(refused(
                        messages,
                        &format!("the server wants a login of kind {other}, which is not supported"),
                    ));
                }
            }
        }
    }

    fn password(&self, messages: &Messages) -> Result<&str> {
        let missing =
            || refused(messages, "the server wants credentials that were not given: password missing");
        self.password.ok_or_else(missing)
    }

    async fn scram(&self, messages: &mut Messages, offered: &[u8]) -> Result<()> {
        let offers = |mechanism: &str| texts(offered).any(|offered| offered == mechanism.as_bytes());
        let (binding, mechanism) = match (&self.binding, offers(SCRAM_SHA_256_PLUS)) {
            (Some(binding), true) => {
                (ChannelBinding::tls_server_end_point(binding.clone()), SCRAM_SHA_256_PLUS)
            }
            // The server notices if somebody in between hid its offer.
            (Some(_), false) => (ChannelBinding::unrequested(), SCRAM_SHA_256),
            (None, _) => (ChannelBinding::unsupported(), SCRAM_SHA_256),
        };
        if !offers(mechanism) {
            return Err(refused(messages, "the server offers no login by SCRAM-SHA-256"));
        }
        let mut scram = ScramSha256::new(self.password(messages)?.as_bytes(), binding);
        let mut bytes = BytesMut::new();
        frontend::sasl_initial_response(mechanism, scram.message(), &mut bytes).map_err(unusable)?;
        messages.send(&bytes).await?;
        let challenge = expected(messages, SASL_CONTINUE).await?;
        step(messages, &mut scram, |scram| scram.update(&challenge))?;
        bytes.clear();
        frontend::sasl_response(scram.message(), &mut bytes).map_err(unusable)?;
        messages.send(&bytes).await?;
        let proof = expected(messages, SASL_FINAL).await?;
        // The server proves that it knows the password too.
        step(messages, &mut scram, |scram| scram.finish(&proof))
    }
}

fn step(
    messages: &Messages,
    scram: &mut ScramSha256,
    step: impl FnOnce(&mut ScramSha256) -> std::io::Result<()>,
) -> Result<()> {
    step(scram).map_err(|error| refused(messages, "the login by SCRAM-SHA-256 failed").with_source(error))
}

async fn send_password(messages: &mut Messages, password: &[u8]) -> Result<()> {
    let mut bytes = BytesMut::new();
    frontend::password_message(password, &mut bytes).map_err(unusable)?;
    messages.send(&bytes).await
}

/// The next request for authentication: its number, and what follows it.
async fn asked(messages: &mut Messages) -> Result<(u32, Vec<u8>)> {
    let message = answer(messages).await?;
    match (message.kind, message.body.split_first_chunk::<4>()) {
        (b'R', Some((number, rest))) => Ok((u32::from_be_bytes(*number), rest.to_vec())),
        _ => Err(messages.unexpected(&message, "during the login")),
    }
}

async fn expected(messages: &mut Messages, wanted: u32) -> Result<Vec<u8>> {
    match asked(messages).await? {
        (request, rest) if request == wanted => Ok(rest),
        (request, _) => Err(messages
            .invalid(&format!("the server asks for {request} instead of {wanted} in a login by SCRAM"))),
    }
}

/// A message that is neither an error nor a notice.
async fn answer(messages: &mut Messages) -> Result<ServerMessage> {
    loop {
        let message = messages.next().await?;
        match message.kind {
            b'E' => return Err(ServerError::decode(&message.body).into_error(messages.place())),
            b'N' => {}
            _ => return Ok(message),
        }
    }
}

async fn welcome(messages: &mut Messages) -> Result<Welcome> {
    let mut welcome = Welcome::default();
    loop {
        let message = answer(messages).await?;
        match message.kind {
            b'S' => {
                let mut texts = texts(&message.body);
                if let (Some(b"server_version"), Some(version)) = (texts.next(), texts.next()) {
                    welcome.version = String::from_utf8_lossy(version).into_owned();
                }
            }
            b'K' => {
                let (numbers, _) = message.body.as_chunks::<4>();
                if let [process, secret] = numbers {
                    welcome.process = i32::from_be_bytes(*process);
                    welcome.secret = i32::from_be_bytes(*secret);
                }
            }
            b'Z' => return Ok(welcome),
            // A newer server offers an older version of its protocol, which is the one that is spoken here.
            b'v' => {}
            _ => return Err(messages.unexpected(&message, "before it is ready")),
        }
    }
}

fn refused(messages: &Messages, what: &str) -> Error {
    Error::new(ErrorCode::SourceRefused, format!("{}: {what}", messages.place()))
}

fn unusable(error: std::io::Error) -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        "a user, password, database or option of PostgreSQL contains a zero byte",
    )
    .with_source(error)
}
