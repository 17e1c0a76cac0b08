//! Who may do what through the doors of a sidecar: tokens from files, and what each of them permits.
//!
//! A door is anything but the native socket, which asks the kernel who its clients are. This crate knows no protocol: a door
//! hands it the token that a client shows ([`Access::identify`]) and asks the [`Identity`] before every step
//! ([`Identity::demand`]), with the table that the step touches.

mod access;
mod denial;
mod identity;
mod permissions;
mod token_file;

pub use access::{Access, AccessError, Anonymous, TokenConfig};
pub use denial::{Denials, Denied};
pub use identity::Identity;
pub use permissions::{Permissions, Right, Tables};
