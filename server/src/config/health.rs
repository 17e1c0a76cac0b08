//! The section `[health]`: where probes and scrapers ask, and when the sidecar is ready.

use std::net::SocketAddr;

use pillion::nearest;

use super::section::Section;

/// Where probes and scrapers ask, and when the sidecar is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthConfig {
    /// Address and port of the listener; `None`: there is none.
    pub listen: Option<SocketAddr>,
    /// Tables that must be loaded; `None`: all tables of the configuration.
    pub ready_tables: Option<Vec<String>>,
    /// Whether their rows must not be older than their `max_staleness`.
    pub ready_fresh: bool,
}

impl HealthConfig {
    /// Reads it. Problems are reported to the document. `tables`: the names of all tables of the file.
    pub(super) fn of(section: &mut Section<'_>, tables: &[&str]) -> Self {
        let listen = section.text("listen").and_then(|text| {
            let address = text.value.parse();
            if address.is_err() {
                let message = format!(
                    "`listen` is \"{}\", not an address with a port such as \"127.0.0.1:9464\" or \"[::]:9464\"",
                    text.value
                );
                section.problem(text.line, message);
            }
            address.ok()
        });
        let is_named = section.line_of("ready_tables").is_some();
        let named = section.texts("ready_tables");
        for name in &named {
            if tables.iter().all(|table| *table != name.value) {
                let hint = nearest(&name.value, tables.iter().copied())
                    .map_or_else(String::new, |table| format!("; did you mean `{table}`?"));
                section
                    .problem(name.line, format!("`ready_tables`: there is no table `{}`{hint}", name.value));
            }
        }
        let ready_tables = is_named.then(|| named.into_iter().map(|name| name.value).collect());
        let ready_fresh = section.boolean("ready_fresh").unwrap_or_default();
        Self { listen, ready_tables, ready_fresh }
    }
}
