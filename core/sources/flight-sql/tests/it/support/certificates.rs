//! Certificates that `openssl` makes: an authority, one of a server for `localhost`, one of a client, and another authority.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::report::not_run;

/// A folder of certificates and keys.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    /// `None`, after a report, where there is no `openssl`.
    #[track_caller]
    pub(crate) fn make() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        if made(dir.path()) {
            return Some(Self(dir));
        }
        not_run("there is no openssl to make certificates");
        None
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn made(dir: &Path) -> bool {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command
            .current_dir(dir)
            .args(arguments.split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let authority = |name: &str| {
        openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        ))
    };
    let signed = |name: &str, by: &str, names: &str| {
        std::fs::write(dir.join("names"), names).unwrap();
        openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"))
            && openssl(&format!(
                "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
            ))
    };
    authority("root")
        && authority("stranger")
        && signed("server", "root", "subjectAltName=DNS:localhost\n")
        && signed("client", "root", "extendedKeyUsage=clientAuth\n")
        && signed("impostor", "stranger", "extendedKeyUsage=clientAuth\n")
}
