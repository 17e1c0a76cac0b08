//! What Pillion's connectors to servers share: the thread that drives connections, how a blocking call waits for it, and the
//! parts of a URL. It is made for these connectors, so it may change with every version.

mod runtime;
mod url;

pub use runtime::{CallEnd, Runtime};
pub use url::{decoded, host_and_port};
