//! How many files the process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as the system lets the process: a connection takes several descriptors, and the soft limit
/// is often 1024 only because of programs that use `select`. If the limit is still too low, that shows when clients are
/// accepted.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let mut raised = limit;
    raised.current = limit.maximum;
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            tracing::debug!(from = limit.current, to = limit.maximum, "raised the limit of open files");
        }
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
