//! Transport between a Pillion sidecar and its clients: Unix sockets, frames with opaque bodies, credentials.
//!
//! It knows no table and interprets no body: the crate above defines what a call means. Everything blocks on the
//! calling thread; there is no runtime.
//!
//! - [`Frame`] and [`FrameDecoder`]: what goes over the socket, as a state machine without I/O.
//! - [`Listener`] and [`connect`]: sockets with an owner and a mode, which replace a stale predecessor.
//! - [`FrameReader`] and [`FrameWriter`]: the two halves of a connection.
//! - [`Arena`]: shared memory for answers that need not go through the socket.
//! - [`Client`]: many calls of many threads over one connection, each with a deadline.

mod arena;
mod client;
mod descriptors;
mod frame;
mod groups;
mod halves;
mod lock;
mod peer;
mod socket;

pub use arena::{ARENA_ALIGNMENT, Arena, Lease, check_sealed};
pub use client::{Call, CallError, Client};
pub use frame::{FRAME_BODY_MAX, FRAME_HEADER_LEN, Flags, Frame, FrameDecoder, FrameError, Head};
pub use halves::{FrameReader, FrameWriter, ReceiveError};
pub use peer::PeerCredentials;
pub use socket::{BindError, ConnectError, Listener, SOCKET_MODE, SOCKET_PATH_MAX, connect};
