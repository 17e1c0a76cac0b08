//! The groups of the process at the other end of a socket: the one question to the kernel that no crate asks for us.

#![expect(unsafe_code, reason = "the option `SO_PEERGROUPS` has no safe wrapper")]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Groups asked for at first; if a process has more, the kernel is asked again.
const GROUPS_LIKELY: usize = 64;
/// The kernel allows a process no more than this (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// All supplementary groups that the peer had when it connected.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn peer_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; GROUPS_LIKELY];
    loop {
        let room = size_of_val(groups.as_slice());
        let mut len = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open while `stream` is borrowed. `groups` is initialised memory of `room` bytes
        // that nothing else refers to, and `len` says so; the kernel writes at most that many bytes into it and sets
        // `len` to what it wrote, or writes nothing and sets it to what it needs. Every bit pattern is a `gid_t`.
        let done = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let count = usize::try_from(len).map_err(io::Error::other)? / size_of::<libc::gid_t>();
        if done == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > GROUPS_MAX {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_those_that_the_process_has() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut groups = peer_groups(&near).unwrap();
        groups.sort_unstable();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let mut told: Vec<u32> = line.split_whitespace().map(|group| group.parse().unwrap()).collect();
        told.sort_unstable();
        assert_eq!(groups, told);
    }
}
