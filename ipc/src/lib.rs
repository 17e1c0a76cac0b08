//! Transport between a sidecar and its clients.
