//! Unix sockets: bound with an owner and a mode, connected with patience.

use std::fmt;
use std::fs::{Permissions, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket as uds;
use nix::sys::socket::{self, AddressFamily, Shutdown, SockFlag, SockType, UnixAddr};

use crate::lock::{FileId, Lock};

/// Longest path of a socket, by `sockaddr_un` of Linux with its final zero.
pub const SOCKET_PATH_MAX: usize = 107;
/// Default mode of a socket: its owner and its group may connect.
pub const SOCKET_MODE: u32 = 0o660;
/// Mode of a folder that is made for a socket: who may look for sockets in it.
const DIR_MODE: u32 = 0o750;
/// How long to wait between attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// A socket that listens; its file is removed when this is dropped.
///
/// Beside the socket lies a file with its name and `.lock` at the end, which stays locked while the socket listens:
/// if several processes bind one path at the same time, exactly one succeeds.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    listener: UnixListener,
    /// The socket's file as it was bound, and the lock that is held until the socket is gone: fields are dropped after
    /// [`Drop::drop`]. `None` if somebody else bound the socket, and keeps it.
    bound: Option<(FileId, Lock)>,
}

/// Why a socket could not be bound.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The path is longer than [`SOCKET_PATH_MAX`].
    PathTooLong(PathBuf),
    /// Another process listens on it.
    InUse(PathBuf),
    /// Something that is not a socket has its name.
    NotASocket(PathBuf),
    /// The operating system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PathTooLong(path) => too_long(path, f),
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

/// Why there is no connection to a socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The path is longer than [`SOCKET_PATH_MAX`].
    PathTooLong(PathBuf),
    /// Something that is not a socket has its name.
    NotASocket(PathBuf),
    /// The operating system refused, at the last attempt.
    Io(PathBuf, io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PathTooLong(path) => too_long(path, f),
            Self::NotASocket(path) => {
                write!(f, "{} is no socket; name the one that the sidecar listens on", path.display())
            }
            Self::Io(path, error) => write!(f, "no sidecar answers on {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

fn too_long(path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let path = path.display();
    write!(f, "the socket path {path} is longer than {SOCKET_PATH_MAX} bytes; choose a shorter one")
}

impl Listener {
    /// Binds a socket with a mode such as [`SOCKET_MODE`]. Makes its folder if there is none; replaces a socket that
    /// nobody listens on any more.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path, mode: u32) -> Result<Self, BindError> {
        let failed = |error| BindError::Io(path.to_owned(), error);
        // Before anything is made beside a file that belongs to somebody else.
        Self::check(path)?;
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(failed)?;
        }
        let lock = Lock::take(path).map_err(|error| match error {
            TryLockError::WouldBlock => BindError::InUse(path.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        // From here on no other process of ours touches the path; whatever listens on it without the lock is another
        // program.
        Self::check(path)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let name = path.to_fs_name::<GenericFilePath>().map_err(failed)?;
        // The mode is set before the path exists, so nobody else may connect at any time. The umask clears bits of
        // it, and `set_permissions` sets them again.
        let listener: uds::Listener = ListenerOptions::new()
            .name(name)
            .mode(mode)
            .reclaim_name(false)
            .create_sync_as()
            .map_err(failed)?;
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        let bound = FileId::of(&path.symlink_metadata().map_err(failed)?);
        let listener = UnixListener::from(OwnedFd::from(listener));
        Ok(Self { path: path.to_owned(), listener, bound: Some((bound, lock)) })
    }

    /// Listens on a socket that somebody else bound and keeps, such as systemd. Its file stays when this is dropped.
    ///
    /// # Errors
    /// If it has no path, or the operating system refuses.
    pub fn adopt(listener: UnixListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let path =
            address.as_pathname().ok_or_else(|| io::Error::other("the socket has no path"))?.to_owned();
        listener.set_nonblocking(false)?;
        Ok(Self { path, listener, bound: None })
    }

    /// Whether a socket could be bound there now, as far as this can be found out without making anything.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn check(path: &Path) -> Result<(), BindError> {
        let failed = |error| Err(BindError::Io(path.to_owned(), error));
        if path.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(BindError::PathTooLong(path.to_owned()));
        }
        match path.symlink_metadata() {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return failed(error),
        }
        match try_connect(path) {
            Ok(_) => Err(BindError::InUse(path.to_owned())),
            // Somebody listens, but accepts nobody.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse(path.to_owned())),
            // Nobody listens, or the socket is gone already.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) =>
            {
                Ok(())
            }
            Err(error) => failed(error),
        }
    }

    /// The same socket for a runtime of one's own, which does not block. It listens for as long as this is not dropped.
    ///
    /// # Errors
    /// Those of the operating system, such as too many open files.
    pub fn try_clone_nonblocking(&self) -> io::Result<UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on clients are refused; a thread in [`accept`](Self::accept) returns with an error. If the socket was
    /// [adopted](Self::adopt), clients wait instead, and the thread may return with a client that says nothing.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn refuse(&self) -> io::Result<()> {
        if self.bound.is_none() {
            // Whoever keeps the socket lets clients wait there for the next listener. So the thread is woken by a client
            // that wants nothing. If there are too many clients for one more, the thread is awake.
            drop(try_connect(&self.path));
            return Ok(());
        }
        Ok(socket::shutdown(self.listener.as_raw_fd(), Shutdown::Both)?)
    }

    /// Waits for a client. If descriptors or memory run out, waits until there are some again instead of failing.
    ///
    /// # Errors
    /// Any other error of the operating system.
    pub fn accept(&self) -> io::Result<UnixStream> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Ok(stream),
                Err(error) if is_short_of_means(&error) => std::thread::sleep(CONNECT_PAUSE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody may have put another socket there, which is not ours to remove. A socket that cannot be removed is
        // stale, and the next process that binds replaces it.
        let Some((bound, _)) = &self.bound else { return };
        if self.path.symlink_metadata().is_ok_and(|found| FileId::of(&found) == *bound) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Whether descriptors or memory ran out: they come back, so it is worth waiting.
fn is_short_of_means(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Connects to a socket. Until `deadline` it waits for a socket that does not exist yet, does not listen yet, or has
/// too many clients waiting.
///
/// # Errors
/// [`ConnectError`]; for causes that may pass, only after the deadline, and for all others at once.
pub fn connect(path: &Path, deadline: Instant) -> Result<UnixStream, ConnectError> {
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(ConnectError::PathTooLong(path.to_owned()));
    }
    loop {
        match try_connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_no_socket(path) => {
                return Err(ConnectError::NotASocket(path.to_owned()));
            }
            Err(error) if !can_be_waited_for(&error) || Instant::now() >= deadline => {
                return Err(ConnectError::Io(path.to_owned(), error));
            }
            Err(_) => std::thread::sleep(CONNECT_PAUSE),
        }
    }
}

/// Never blocks, even where more clients wait to be accepted than the system allows: their number says nothing about
/// whether the listener is alive. (The library that binds takes that state for a connection under way.)
fn try_connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn can_be_waited_for(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::NotFound | K::ConnectionRefused | K::WouldBlock | K::Interrupted)
}

/// Whether the path names something else. If it names nothing now, a socket may come back.
fn is_no_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::PeerCredentials;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    fn files(dir: &Path) -> Vec<OsString> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn an_adopted_socket_stays_and_lets_clients_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pillion.sock");
        let kept = UnixListener::bind(&path).unwrap();
        let listener = Listener::adopt(kept.try_clone().unwrap()).unwrap();
        assert_eq!(listener.path(), path);
        let first = connect(&path, soon()).unwrap();
        listener.accept().unwrap();
        listener.refuse().unwrap();
        listener.accept().unwrap();
        drop((listener, first));
        let waiting = connect(&path, soon()).unwrap();
        let next = Listener::adopt(kept).unwrap();
        next.accept().unwrap();
        drop(waiting);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/pillion.sock");
        let listener = Listener::bind(&path, SOCKET_MODE).unwrap();
        assert!(matches!(Listener::bind(&path, SOCKET_MODE), Err(BindError::InUse(_))));
        // A killed server leaves this behind: the file stays, and nobody listens.
        let stale = dir.path().join("stale");
        drop(UnixListener::bind(&stale).unwrap());
        assert!(connect(&stale, soon()).is_err());
        let replaced = Listener::bind(&stale, SOCKET_MODE).unwrap();
        let client = connect(&stale, soon()).unwrap();
        let server = replaced.accept().unwrap();
        assert_eq!(PeerCredentials::of(&server).unwrap(), PeerCredentials::of(&client).unwrap());
        drop(listener);
        assert_eq!(files(&dir.path().join("run")), [""; 0], "neither the socket nor its lock stays");
    }

    #[test]
    fn a_socket_of_another_program_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.sock");
        let _other = UnixListener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path, SOCKET_MODE), Err(BindError::InUse(_))));
        assert_eq!(files(dir.path()), ["other.sock"]);
    }

    #[test]
    fn the_socket_has_the_mode_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o600, SOCKET_MODE, 0o666] {
            let path = dir.path().join(format!("{mode:o}.sock"));
            let listener = Listener::bind(&path, mode).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
            drop(listener);
        }
    }

    /// A stale socket lies there, so each process has to remove what another may just have bound.
    #[test]
    fn of_many_that_bind_at_once_one_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pillion.sock");
        for round in 0..50 {
            drop(UnixListener::bind(&path).unwrap());
            let barrier = std::sync::Barrier::new(4);
            let bound: Vec<Listener> = std::thread::scope(|scope| {
                let bind = || {
                    barrier.wait();
                    Listener::bind(&path, SOCKET_MODE)
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
            });
            assert_eq!(bound.len(), 1, "round {round}");
            connect(&path, soon()).unwrap();
            drop(bound);
            assert!(!path.exists(), "round {round}");
        }
    }

    #[test]
    fn who_waits_for_clients_is_woken_also_when_the_path_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pillion.sock");
        let listener = Listener::bind(&path, SOCKET_MODE).unwrap();
        std::thread::scope(|scope| {
            let accepted = scope.spawn(|| listener.accept().map(drop));
            std::thread::sleep(CONNECT_PAUSE);
            std::fs::remove_file(&path).unwrap();
            listener.refuse().unwrap();
            assert!(accepted.join().unwrap().is_err());
        });
    }

    #[test]
    fn a_socket_that_took_the_place_of_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pillion.sock");
        let listener = Listener::bind(&path, SOCKET_MODE).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listener);
        connect(&path, soon()).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        std::fs::File::create(&path).unwrap();
        assert!(matches!(Listener::bind(&path, SOCKET_MODE), Err(BindError::NotASocket(_))));
        assert_eq!(files(dir.path()), ["notes.txt"]);
        let long = dir.path().join("x".repeat(SOCKET_PATH_MAX));
        let error = Listener::bind(&long, SOCKET_MODE).unwrap_err();
        assert!(matches!(error, BindError::PathTooLong(_)), "{error}");
    }

    #[test]
    fn connecting_says_at_once_what_no_waiting_mends() {
        let dir = tempfile::tempdir().unwrap();
        let far = Instant::now() + Duration::from_secs(3600);
        let long = dir.path().join("x".repeat(SOCKET_PATH_MAX));
        assert!(matches!(connect(&long, far), Err(ConnectError::PathTooLong(_))));
        let file = dir.path().join("notes.txt");
        std::fs::File::create(&file).unwrap();
        assert!(matches!(connect(&file, far), Err(ConnectError::NotASocket(_))));
        assert!(matches!(connect(&file.join("x"), far), Err(ConnectError::Io(..))));
    }

    #[test]
    fn one_that_lets_nobody_in_keeps_nobody_waiting_beyond_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("full.sock");
        let stuck = UnixListener::bind(&path).unwrap();
        socket::listen(&stuck, socket::Backlog::new(1).unwrap()).unwrap();
        let mut waiting = Vec::new();
        let error = loop {
            match connect(&path, soon()) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, ConnectError::Io(_, error) if error.kind() == io::ErrorKind::WouldBlock));
        assert!(matches!(Listener::check(&path), Err(BindError::InUse(_))));
        assert!(matches!(Listener::bind(&path, SOCKET_MODE), Err(BindError::InUse(_))));
        drop(stuck.accept().unwrap());
        connect(&path, soon()).unwrap();
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
                    let listener = Listener::bind(&path, SOCKET_MODE).unwrap();
                    drop(listener.accept().unwrap());
                })
                .unwrap()
        };
        connect(&path, Instant::now() + Duration::from_secs(30)).unwrap();
        server.join().unwrap();
    }
}
