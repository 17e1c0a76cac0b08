//! Tokens, and whose they are.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use subtle::Choice;

use super::denial::{Denials, Denied};
use super::identity::Identity;
use super::permissions::{Permissions, Right};
use super::token_file::{self, Digest, Stamp};

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
    known: RwLock<Arc<Known>>,
    denials: Arc<Denials>,
}

/// What clients without a token may do: nothing, not even ask, where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Anonymous {
    everywhere: Option<Arc<Permissions>>,
    at: BTreeMap<&'static str, Arc<Permissions>>,
}

impl Anonymous {
    /// Admits them at some doors.
    pub fn at(doors: impl IntoIterator<Item = (&'static str, Permissions)>) -> Self {
        let at = doors.into_iter().map(|(door, permissions)| (door, Arc::new(permissions))).collect();
        Self { everywhere: None, at }
    }

    fn permissions(&self, door: &str) -> Option<Arc<Permissions>> {
        self.at.get(door).or(self.everywhere.as_ref()).cloned()
    }
}

/// Admits them at every door, or at none.
impl From<Option<Permissions>> for Anonymous {
    fn from(everywhere: Option<Permissions>) -> Self {
        Self { everywhere: everywhere.map(Arc::new), at: BTreeMap::new() }
    }
}

/// Everybody who is admitted.
#[derive(Debug)]
struct Known {
    tokens: Vec<Token>,
    anonymous: Anonymous,
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
    /// Why it could not be read, if so. It is tried again at every look.
    failed: Option<String>,
}

impl Access {
    /// Reads the files of all tokens. Whoever shows none is admitted only with `anonymous`, for what that permits.
    ///
    /// A file that has changed is read again at the next [`look_at_files`](Self::look_at_files). If it cannot be read any more, its
    /// tokens are refused until it can be. A token that stands in the files of two names is refused.
    ///
    /// # Errors
    /// A file that cannot be read or has no token that is long enough; a token that two files have.
    pub fn new(
        tokens: impl IntoIterator<Item = TokenConfig>,
        anonymous: impl Into<Anonymous>,
    ) -> Result<Self, AccessError> {
        Ok(Self {
            known: RwLock::new(Arc::new(Known::read(tokens, anonymous.into())?)),
            denials: Arc::default(),
        })
    }

    /// From now on, these tokens are admitted, and no others. Files are read as by [`new`](Self::new).
    ///
    /// # Errors
    /// Those of [`new`](Self::new). Nothing is changed then.
    pub fn adjust(
        &self,
        tokens: impl IntoIterator<Item = TokenConfig>,
        anonymous: impl Into<Anonymous>,
    ) -> Result<(), AccessError> {
        let known = Known::read(tokens, anonymous.into())?;
        *self.known.write() = Arc::new(known);
        Ok(())
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
        self.of_digest(door, token.map(Digest::of))
    }

    /// Whether somebody who was admitted before still is, and may still do something: for answers that go on for long. What
    /// its token permits may have changed since.
    ///
    /// # Errors
    /// Those of [`identify`](Self::identify) and [`Identity::demand`].
    pub fn demand_again(
        &self,
        door: &'static str,
        identity: &Identity,
        right: Right,
        table: Option<&str>,
    ) -> Result<(), Denied> {
        self.of_digest(door, identity.digest)?.demand(door, right, table)
    }

    /// Who somebody is now that was identified before, with what its token permits now: for work that goes on for long.
    ///
    /// # Errors
    /// Those of [`identify`](Self::identify).
    pub fn identify_again(&self, door: &'static str, identity: &Identity) -> Result<Identity, Denied> {
        self.of_digest(door, identity.digest)
    }

    fn of_digest(&self, door: &'static str, digest: Option<Digest>) -> Result<Identity, Denied> {
        let known = self.known.read().clone();
        let found = match &digest {
            Some(digest) => known.owner(digest).ok_or(Denied::UnknownToken),
            None => known.anonymous.permissions(door).map(|it| (ANONYMOUS.into(), it)).ok_or(Denied::NoToken),
        };
        let (name, permissions) = found.inspect_err(|denied| self.denials.count(door, denied))?;
        Ok(Identity { name, permissions, digest, denials: self.denials.clone() })
    }

    /// Looks at the files of all tokens, and reads those that have changed. Blocks for as long as their file system does; others
    /// are identified meanwhile by what is known. Doors call it every second, and a token that was taken out of its file is
    /// refused from then on.
    pub fn look_at_files(&self) {
        let known = self.known.read().clone();
        let mut is_changed = false;
        for token in &known.tokens {
            is_changed |= token.look();
        }
        if is_changed && let Err(same) = known.check() {
            tracing::error!(%same, "refused until one of their files changes");
        }
    }
}

impl Known {
    fn read(
        tokens: impl IntoIterator<Item = TokenConfig>,
        anonymous: Anonymous,
    ) -> Result<Self, AccessError> {
        let mut known = Self { tokens: Vec::new(), anonymous };
        for TokenConfig { name, file, permissions } in tokens {
            let stamp = Stamp::of(&file);
            let wrong = |message| AccessError(format!("the token `{name}`: {message}"));
            let digests = token_file::read(&file).map_err(wrong)?;
            let held = RwLock::new(Held { stamp, digests, failed: None });
            known.tokens.push(Token { name: name.into(), file, permissions: Arc::new(permissions), held });
        }
        known.check()?;
        Ok(known)
    }

    /// Finds a token that two files have: nobody knows what it permits.
    fn check(&self) -> Result<(), AccessError> {
        let mut owners: HashMap<Digest, &Token> = HashMap::new();
        for token in &self.tokens {
            for digest in &token.held.read().digests {
                if let Some(other) = owners.insert(*digest, token).filter(|other| other.name != token.name) {
                    return Err(AccessError(format!(
                        "the tokens `{}` and `{}` are the same: what does it permit?",
                        other.name, token.name
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whose token it is; nobody's if several have it. Compares with every token, so that the time shows nothing of them.
    fn owner(&self, digest: &Digest) -> Option<(Arc<str>, Arc<Permissions>)> {
        let (mut owner, mut owners) = (None, 0);
        for token in &self.tokens {
            let held = token.held.read();
            let is_one = held.digests.iter().fold(Choice::from(0), |any, held| any | held.matches(digest));
            if bool::from(is_one) {
                owner = Some((token.name.clone(), token.permissions.clone()));
                owners += 1;
            }
        }
        owner.filter(|_| owners == 1)
    }
}

impl Token {
    /// Reads the file again if it has changed or could not be read; returns whether its tokens are others now.
    fn look(&self) -> bool {
        let stamp = Stamp::of(&self.file);
        let failed = {
            let held = self.held.read();
            if held.failed.is_none() && held.stamp == stamp {
                return false;
            }
            held.failed.clone()
        };
        let held = match token_file::read(&self.file) {
            Ok(digests) => {
                tracing::info!(token = %self.name, tokens = digests.len(), "read again");
                Held { stamp, digests, failed: None }
            }
            Err(message) => {
                // Said once, although it is tried again at every look: what passes by itself, such as too many open files, leaves
                // the file as it is.
                if failed.as_ref() != Some(&message) {
                    tracing::error!(token = %self.name, %message, "refused until its file can be read");
                }
                Held { stamp: None, digests: Vec::new(), failed: Some(message) }
            }
        };
        *self.held.write() = held;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_that_could_not_be_read_is_tried_again_although_it_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::File::create(&file).unwrap().write_all(b"a-token-0123456789").unwrap();
        // As if there had been too many open files when it was looked at: it is the same file now.
        let held = Held {
            stamp: Stamp::of(&file),
            digests: Vec::new(),
            failed: Some("too many open files".to_owned()),
        };
        let (name, permissions) = ("it".into(), Arc::default());
        let token = Token { name, file, permissions, held: RwLock::new(held) };
        assert!(token.look());
        assert!(token.held.read().digests == [Digest::of(b"a-token-0123456789")]);
        assert!(!token.look(), "and left alone then");
        std::fs::remove_file(&token.file).unwrap();
        assert!(token.look() && token.held.read().digests.is_empty());
        assert_eq!(token.held.read().stamp, None, "what failed keeps no stamp");
    }
}
