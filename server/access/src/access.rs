//! Tokens, and whose they are.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use subtle::Choice;

use super::denial::{Denials, Denied};
use super::identity::Identity;
use super::permissions::Permissions;
use super::token_file::{self, Digest, Stamp};

/// How often the files of tokens are looked at. A token that was taken out of its file is refused after at most this time.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The name of clients without a token.
const ANONYMOUS: &str = "anonymous";

/// A named token: its file, and what it permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// How it is called in logs and errors.
    pub name: String,
    /// The file that has the token, or several, one a line.
    pub file: PathBuf,
    /// What it permits.
    pub permissions: Permissions,
}

/// What is wrong with tokens. Never shows one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessError(String);

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for AccessError {}

/// Who may use the doors of a sidecar, and for what. One for all doors, so that permissions hold on each alike.
#[derive(Debug)]
pub struct Access {
    tokens: Vec<Token>,
    anonymous: Option<Arc<Permissions>>,
    denials: Arc<Denials>,
    looked: Mutex<Instant>,
}

#[derive(Debug)]
struct Token {
    name: Arc<str>,
    file: PathBuf,
    permissions: Arc<Permissions>,
    held: RwLock<Held>,
}

/// What the file had when it was read last.
#[derive(Debug, Default)]
struct Held {
    stamp: Option<Stamp>,
    digests: Vec<Digest>,
}

impl Access {
    /// Reads the files of all tokens. Whoever shows none is admitted only with `anonymous`, for what that permits.
    ///
    /// The files are looked at again about every second, by whoever asks then, and a changed one is read again. If it cannot be
    /// read any more, its tokens are refused until it can be.
    ///
    /// # Errors
    /// A file that cannot be read or has no token that is long enough; a token that two files have.
    pub fn new(
        tokens: impl IntoIterator<Item = TokenConfig>,
        anonymous: Option<Permissions>,
    ) -> Result<Self, AccessError> {
        let mut all: Vec<Token> = Vec::new();
        for TokenConfig { name, file, permissions } in tokens {
            let stamp = Stamp::of(&file);
            let wrong = |message| AccessError(format!("the token `{name}`: {message}"));
            let digests = token_file::read(&file).map_err(wrong)?;
            let is_taken = |other: &&Token| {
                other.held.read().digests.iter().any(|held| digests.iter().any(|digest| digest == held))
            };
            if let Some(other) = all.iter().find(is_taken) {
                return Err(AccessError(format!(
                    "the tokens `{}` and `{name}` are the same: what does it permit?",
                    other.name
                )));
            }
            let (name, permissions) = (name.into(), Arc::new(permissions));
            all.push(Token { name, file, permissions, held: RwLock::new(Held { stamp, digests }) });
        }
        Ok(Self {
            tokens: all,
            anonymous: anonymous.map(Arc::new),
            denials: Arc::default(),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// Refusals at all doors.
    pub fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Who a client is by the token that it shows.
    ///
    /// # Errors
    /// [`Denied::NoToken`] and [`Denied::UnknownToken`], counted and logged with `door`. A wrong token is refused also where
    /// none is needed.
    pub fn identify(&self, door: &'static str, token: Option<&[u8]>) -> Result<Identity, Denied> {
        self.look_at_files();
        let found = match token {
            Some(token) => self.owner(&Digest::of(token)).ok_or(Denied::UnknownToken),
            None => self.anonymous.clone().map(|it| (ANONYMOUS.into(), it, None)).ok_or(Denied::NoToken),
        };
        match found {
            Ok((name, permissions, digest)) => {
                Ok(Identity { name, permissions, digest, denials: self.denials.clone() })
            }
            Err(denied) => {
                self.denials.count(door, &denied);
                Err(denied)
            }
        }
    }

    /// Whether an identity is still valid: for answers that go on for long.
    pub fn still_admits(&self, identity: &Identity) -> bool {
        self.look_at_files();
        match &identity.digest {
            Some(digest) => self.owner(digest).is_some(),
            None => self.anonymous.is_some(),
        }
    }

    /// Whose token it is. Compares with every token, so that the time shows nothing of them.
    fn owner(&self, digest: &Digest) -> Option<(Arc<str>, Arc<Permissions>, Option<Digest>)> {
        let mut owner = None;
        for token in &self.tokens {
            let held = token.held.read();
            let is_one = held.digests.iter().fold(Choice::from(0), |any, held| any | held.matches(digest));
            if bool::from(is_one) {
                owner = Some((token.name.clone(), token.permissions.clone(), Some(*digest)));
            }
        }
        owner
    }

    fn look_at_files(&self) {
        // Whoever comes while another one looks uses what is there.
        let Some(mut looked) = self.looked.try_lock() else { return };
        if looked.elapsed() < LOOK_INTERVAL {
            return;
        }
        *looked = Instant::now();
        for token in &self.tokens {
            token.look();
        }
    }
}

impl Token {
    fn look(&self) {
        let stamp = Stamp::of(&self.file);
        if self.held.read().stamp == stamp {
            return;
        }
        let digests = match token_file::read(&self.file) {
            Ok(digests) => {
                tracing::info!(token = %self.name, tokens = digests.len(), "read again");
                digests
            }
            Err(message) => {
                tracing::error!(token = %self.name, %message, "refused until its file can be read");
                Vec::new()
            }
        };
        *self.held.write() = Held { stamp, digests };
    }
}
