//! Unix sockets: bound with an owner and a mode, connected with patience.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interprocess::local_socket::traits::{Stream as _, StreamCommon as _};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::uds_local_socket as uds;

/// Longest path of a socket, by `sockaddr_un` of Linux with its final zero.
pub const SOCKET_PATH_MAX: usize = 107;
/// Who may connect: the owner and its group.
const SOCKET_MODE: u32 = 0o660;
/// Who may look for sockets in a folder made for them.
const DIR_MODE: u32 = 0o750;
/// How long to wait between attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// A socket that listens; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    listener: UnixListener,
}

/// Why a socket could not be bound.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The path is longer than [`SOCKET_PATH_MAX`].
    PathTooLong(PathBuf),
    /// Another process listens on it.
    InUse(PathBuf),
    /// Something that is no socket has its name.
    NotASocket(PathBuf),
    /// The operating system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PathTooLong(path) => {
                write!(
                    f,
                    "the socket path {} is longer than {SOCKET_PATH_MAX} bytes; choose a shorter one",
                    path.display()
                )
            }
            Self::InUse(path) => write!(f, "another process listens on {}", path.display()),
            Self::NotASocket(path) => {
                write!(f, "{} exists and is no socket; remove it or choose another path", path.display())
            }
            Self::Io(path, error) => write!(f, "cannot listen on {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

impl Listener {
    /// Binds a socket that its owner and group may use. Makes its folder if there is none; takes the place of a socket
    /// that nobody listens on any more.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |error| BindError::Io(path.to_owned(), error);
        if path.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(BindError::PathTooLong(path.to_owned()));
        }
        if let Some(dir) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(failed)?;
        }
        match path.symlink_metadata() {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => return Err(BindError::InUse(path.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let name = path.to_fs_name::<GenericFilePath>().map_err(failed)?;
        let listener: uds::Listener =
            ListenerOptions::new().name(name).reclaim_name(false).create_sync_as().map_err(failed)?;
        let listener = UnixListener::from(OwnedFd::from(listener));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a client. Running out of descriptors is waited out, not reported.
    ///
    /// # Errors
    /// Any other error of the operating system.
    pub fn accept(&self) -> io::Result<UnixStream> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Ok(stream),
                Err(error) if is_out_of_descriptors(&error) => std::thread::sleep(CONNECT_PAUSE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A socket that cannot be removed is stale, and the next to bind takes its place.
        drop(std::fs::remove_file(&self.path));
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Connects to a socket; until `deadline` it waits for one that is not there yet or not listening yet.
///
/// # Errors
/// The last error of the operating system when the deadline has passed.
pub fn connect(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    loop {
        let name = path.to_fs_name::<GenericFilePath>()?;
        match uds::Stream::connect(name) {
            Ok(stream) => return Ok(UnixStream::from(OwnedFd::from(stream))),
            Err(error) => {
                let is_starting =
                    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
                if !is_starting || Instant::now() >= deadline {
                    return Err(error);
                }
            }
        }
        std::thread::sleep(CONNECT_PAUSE);
    }
}

/// Who is at the other end of a socket, as the kernel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
}

impl PeerCredentials {
    /// Asks the kernel.
    ///
    /// # Errors
    /// Those of the operating system; [`io::ErrorKind::Unsupported`] where it does not tell.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = uds::Stream::from(stream.try_clone()?).peer_creds()?;
        match (credentials.euid(), credentials.egid()) {
            (Some(uid), Some(gid)) => Ok(Self { uid, gid }),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "the system does not tell who connects")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/pillion.sock");
        let listener = Listener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(BindError::InUse(_))));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        // As a killed server leaves it: the file stays, nobody listens.
        let copy = UnixListener::bind(dir.path().join("stale")).unwrap();
        drop(copy);
        let stale = dir.path().join("stale");
        assert!(connect(&stale, soon()).is_err());
        let replaced = Listener::bind(&stale).unwrap();
        let client = connect(&stale, soon()).unwrap();
        let server = replaced.accept().unwrap();
        assert_eq!(PeerCredentials::of(&server).unwrap(), PeerCredentials::of(&client).unwrap());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        std::fs::File::create(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(BindError::NotASocket(_))));
        assert!(path.exists());
        let long = dir.path().join("x".repeat(SOCKET_PATH_MAX));
        let error = Listener::bind(&long).unwrap_err();
        assert!(matches!(error, BindError::PathTooLong(_)), "{error}");
    }

    #[test]
    fn connecting_waits_for_a_server_that_is_still_starting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late.sock");
        let server = {
            let path = path.clone();
            std::thread::Builder::new()
                .name("late".into())
                .spawn(move || {
                    std::thread::sleep(Duration::from_millis(50));
                    let listener = Listener::bind(&path).unwrap();
                    drop(listener.accept().unwrap());
                })
                .unwrap()
        };
        connect(&path, Instant::now() + Duration::from_secs(30)).unwrap();
        server.join().unwrap();
    }
}
