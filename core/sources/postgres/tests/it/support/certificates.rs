//! A server with a certificate.

use std::path::Path;
use std::process::{Command, Stdio};

use super::report::not_run;
use super::server::Server;

/// Makes an authority, a certificate of the server for `localhost`, one of a client, and another authority.
fn certificates(dir: &Path) -> bool {
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
    let signed = |name: &str, subject: &str, names: &str| {
        let mut file = std::fs::File::create(dir.join("names")).unwrap();
        std::io::Write::write_all(&mut file, names.as_bytes()).unwrap();
        openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={subject} -keyout {name}.key -out {name}.csr"
        )) && openssl(&format!(
            "x509 -req -in {name}.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
        ))
    };
    authority("root")
        && authority("stranger")
        && signed("server", "localhost", "subjectAltName=DNS:localhost\n")
        && signed("client", "postgres", "extendedKeyUsage=clientAuth\n")
}

/// A server that offers encryption; `None` where it or `openssl` is not installed.
#[track_caller]
pub(crate) fn encrypted_server(settings: &[&str]) -> Option<Server> {
    let mut is_made = false;
    let server = Server::start_with(|dir| {
        is_made = certificates(dir);
        if !is_made {
            return Vec::new();
        }
        let _ = Command::new("chmod").arg("600").arg(dir.join("server.key")).status();
        let file = |name: &str| dir.join(name).display().to_string();
        let encryption = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("server.pem")),
            format!("ssl_key_file={}", file("server.key")),
            format!("ssl_ca_file={}", file("root.pem")),
        ];
        encryption.into_iter().chain(settings.iter().map(ToString::to_string)).collect()
    })?;
    if !is_made {
        not_run("there is no openssl to make certificates");
        return None;
    }
    Some(server)
}
