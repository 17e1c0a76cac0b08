//! Descriptors that travel beside the bytes of a socket.
#![expect(unsafe_code, reason = "a received descriptor is a bare number until someone owns it")]

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Room for the control messages of one read: for more descriptors than our peers ever send at a time. Aligned as
/// control messages are.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Most descriptors that may wait for the frames that announce them.
const WAITING_MAX: usize = 4;

/// Sends bytes, the first of which carries a descriptor. Like `write`, it may send fewer than all.
pub(crate) fn send(stream: &UnixStream, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
    let descriptors = [descriptor.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&descriptors)];
    Ok(sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(bytes)], &control, MsgFlags::MSG_NOSIGNAL, None)?)
}

/// Receives bytes, and puts descriptors that came with them into `descriptors`. If that is `None`, a peer that sends
/// a descriptor breaks the protocol.
pub(crate) fn receive(
    stream: &UnixStream,
    bytes: &mut [u8],
    descriptors: Option<&mut VecDeque<OwnedFd>>,
) -> io::Result<usize> {
    let mut control = Control([0; 64]);
    let room = descriptors.is_some().then_some(control.0.as_mut_slice());
    let mut parts = [IoSliceMut::new(bytes)];
    let received = recvmsg::<()>(stream.as_raw_fd(), &mut parts, room, MsgFlags::MSG_CMSG_CLOEXEC)?;
    let is_cut = received.flags.contains(MsgFlags::MSG_CTRUNC);
    let Some(descriptors) = descriptors else {
        // The kernel closed the descriptors that had no room.
        return if is_cut { Err(unexpected()) } else { Ok(received.bytes) };
    };
    if is_cut {
        return Err(io::Error::other(
            "a descriptor could not be received: this process has too many files open, or the peer sent too many",
        ));
    }
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel made these descriptors for this message, so nobody else owns them.
            descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    if descriptors.len() > WAITING_MAX {
        descriptors.clear();
        return Err(unexpected());
    }
    Ok(received.bytes)
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the peer sent descriptors that nobody asked for")
}
