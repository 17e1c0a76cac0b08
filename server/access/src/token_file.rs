//! A file of tokens, of which only digests are kept.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Shorter tokens could be guessed.
const TOKEN_LEN_MIN: usize = 16;
/// Longer tokens are a mistake: some other file.
const TOKEN_LEN_MAX: usize = 4096;
/// Larger files are some other file.
const FILE_LEN_MAX: u64 = 64 << 10;

/// What is kept of a token. Nobody finds the token from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares in a time that does not depend on where the two differ.
    pub(crate) fn matches(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// What shows that a file is another one than before. A symbolic link that is swapped, as Kubernetes does, is seen too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    device: u64,
    len: u64,
    modified: Option<SystemTime>,
    changed: (i64, i64),
}

impl Stamp {
    /// `None` if there is no such file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            inode: found.ino(),
            device: found.dev(),
            len: found.len(),
            modified: found.modified().ok(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Reads the tokens of a file, one a line. Several are valid at a time, so that clients can change to a new one.
///
/// # Errors
/// What is wrong, without anything of the content.
pub(crate) fn read(path: &Path) -> Result<Vec<Digest>, String> {
    let text = text(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let tokens: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    if tokens.is_empty() {
        return Err(format!("{} has no token", path.display()));
    }
    for (number, token) in tokens.iter().enumerate() {
        let line = format!("token {} of {}", number + 1, path.display());
        if token.len() < TOKEN_LEN_MIN {
            return Err(format!(
                "{line} has {} bytes; at least {TOKEN_LEN_MIN} are needed, as `openssl rand -hex 32` makes them",
                token.len()
            ));
        }
        if token.len() > TOKEN_LEN_MAX || !token.iter().all(u8::is_ascii_graphic) {
            return Err(format!(
                "{line} is not at most {TOKEN_LEN_MAX} letters, digits and signs of ASCII without spaces"
            ));
        }
    }
    Ok(tokens.into_iter().map(Digest::of).collect())
}

fn text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = File::open(path)?.take(FILE_LEN_MAX + 1).read_to_end(&mut text)?;
    if read as u64 > FILE_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for a file of tokens"));
    }
    Ok(text)
}
