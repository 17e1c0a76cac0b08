//! The manifest of examples/kubernetes: its configuration is valid and agrees with the rest of the manifest, and its
//! users and groups work as processes. The test in examples/kubernetes/check compares its fields with the API.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;
use pillion_server::Config;
use pillion_server::cli::Cli;
use serde::Deserialize;
use serde_json::Value;

use crate::sidecar::Sidecar;
use crate::support::Outcome;

/// The mount paths of the volumes.
const DATA: &str = "/var/lib/pillion";
const RUN: &str = "/run/pillion";
const FILES: &str = "/srv/files";

/// The group of the pod.
const FS_GROUP: u32 = 2000;

/// Objects of the manifest by kind.
fn objects() -> BTreeMap<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/kubernetes/pillion.yaml");
    let text = fs::read_to_string(path).unwrap();
    let objects = serde_yaml_ng::Deserializer::from_str(&text);
    objects
        .map(|object| Value::deserialize(object).unwrap())
        .map(|object| (object["kind"].as_str().unwrap().to_owned(), object))
        .collect()
}

fn configuration() -> String {
    objects()["ConfigMap"]["data"]["pillion.toml"].as_str().unwrap().to_owned()
}

fn pod() -> Value {
    objects()["Deployment"]["spec"]["template"]["spec"].clone()
}

fn config() -> Config {
    Config::parse(&configuration(), "pillion.toml", Path::new("/etc/pillion"), &|_| None).unwrap()
}

fn mounts(container: &Value) -> BTreeMap<String, (PathBuf, bool)> {
    let mounts = container["volumeMounts"].as_array().unwrap().iter();
    mounts
        .map(|mount| {
            let path = mount["mountPath"].as_str().unwrap();
            let read_only = mount["readOnly"].as_bool().unwrap_or_default();
            (mount["name"].as_str().unwrap().to_owned(), (path.into(), read_only))
        })
        .collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn the_sidecar_is_a_native_one_that_runs_this_configuration() {
    let (pod, config) = (pod(), config());
    let sidecar = &pod["initContainers"][0];
    assert_eq!(sidecar["restartPolicy"], "Always");
    let command = [texts(&sidecar["command"]), texts(&sidecar["args"])].concat();
    let cli = Cli::try_parse_from(&command).unwrap();
    assert!(format!("{cli:?}").contains("\"/etc/pillion/pillion.toml\""), "{cli:?}");
    let probe = texts(&sidecar["startupProbe"]["exec"]["command"]);
    Cli::try_parse_from(&probe).unwrap();
    let url = format!("unix:{}", config.socket.display());
    assert!(probe.contains(&"--ready"));
    assert!(probe.iter().any(|argument| argument.starts_with(&url)), "{probe:?}");
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(config.stop_timeout.as_secs() < grace, "the cache is closed before the container is killed");
    let group = u32::try_from(pod["securityContext"]["fsGroup"].as_u64().unwrap()).unwrap();
    assert_eq!((group, config.access.allow_gids), (FS_GROUP, vec![FS_GROUP]));
}

#[test]
fn the_application_has_both_volumes_read_only_at_the_same_paths() {
    let (pod, config) = (pod(), config());
    let (sidecar, application) = (mounts(&pod["initContainers"][0]), mounts(&pod["containers"][0]));
    for (volume, path) in [("run", &config.socket), ("data", &config.dir)] {
        let (at, read_only) = &sidecar[volume];
        assert!(!read_only);
        assert!(path.starts_with(at), "{} is in the volume", path.display());
        assert_eq!(application[volume], (at.clone(), true));
    }
    // Not in the root of the volume, to which everyone may write.
    assert_ne!(config.socket.parent(), Some(sidecar["run"].0.as_path()));
    assert_ne!(config.dir, sidecar["data"].0);
    for table in &config.tables {
        assert!(table.files.iter().all(|file| Path::new(file).starts_with(&sidecar["files"].0)));
    }
    assert!(!application.contains_key("files"));
    let url = format!("unix:{}", config.socket.display());
    assert_eq!(pod["containers"][0]["env"][0], serde_json::json!({"name": "PILLION_URL", "value": url}));
}

#[test]
fn requests_equal_limits() {
    let pod = pod();
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        let resources = &container["resources"];
        assert!(resources["limits"]["memory"].is_string() && resources["limits"]["cpu"].is_string());
        assert_eq!(resources["requests"], resources["limits"]);
    }
}

/// Runs processes as the users and groups of the pod over folders like its volumes. Only root can become other users.
#[test]
fn the_users_of_the_pod_read_and_strangers_do_not() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let pod = Pod::new();
    let sidecar = Sidecar::spawn(pod.user("initContainers").args(["serve", "--config"]).arg(&pod.config));
    let url = format!("unix:{}", pod.at(RUN, "sidecar/pillion.sock"));
    let dir = pod.at(DATA, "cache");
    let query = ["sql", "--format", "csv", "SELECT count(*) AS n FROM airlines"];
    let ask = |mut command: Command, url: &str| Outcome::of(command.args(query).args(["--url", url]), "");
    // The application waits for the sidecar, asks it, and reads the directory itself.
    let first = ask(pod.user("containers"), &url);
    assert_eq!(first.text(), "n\n16\n", "{first:?}, {}", sidecar.log());
    assert_eq!(ask(pod.user("containers"), &dir).answer(), "n\n16\n");
    let probe = Outcome::of(pod.user("initContainers").args(["status", "--ready", "--url", &url]), "");
    assert_eq!(probe.answer(), "");
    // The application cannot own the directory, nor remove the socket.
    let socket = url.trim_start_matches("unix:");
    let csv = pod.at(FILES, "one.csv");
    Outcome::of(pod.user("containers").args(["load", "--url", &dir, "airlines", &csv, "--append"]), "")
        .fails(5, &["Permission denied"]);
    let mut remove = setpriv(uid("containers"), "2000");
    let removed = remove.args(["rm", "-f", socket]).stderr(Stdio::null()).status().unwrap();
    assert!(!removed.success());
    // A user of another pod: neither the folder nor the socket lets it connect.
    let stranger = |url: &str| ask(pod.command(10_003, "3000"), url);
    stranger(&format!("{url}?deadline=1")).fails(5, &["Permission denied"]);
    sidecar.end();
}

/// Folders like the volumes of a pod: everyone may write to them, they belong to root and the group of the pod, and new
/// files get that group.
struct Pod {
    temp: tempfile::TempDir,
    config: PathBuf,
    program: PathBuf,
}

impl Pod {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
        for volume in [DATA, RUN, FILES] {
            let folder = root.join(&volume[1..]);
            fs::create_dir_all(&folder).unwrap();
            chown(&folder, None, Some(FS_GROUP)).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(0o2777)).unwrap();
        }
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data");
        for file in ["airlines.parquet", "flights.parquet"] {
            fs::copy(format!("{data}/{file}"), root.join(&FILES[1..]).join(file)).unwrap();
        }
        write(&root.join(&FILES[1..]).join("one.csv"), "carrier,name\nPN,Pillion\n");
        let config = root.join("pillion.toml");
        let there = |path: &str| format!("\"{}{path}", root.display());
        let text = [DATA, RUN, FILES]
            .iter()
            .fold(configuration(), |text, volume| text.replace(&format!("\"{volume}"), &there(volume)));
        write(&config, &text);
        // A copy, because maybe only its owner can enter the folder where it was built. Another process copies it:
        // otherwise a child of another test could hold the file open for writing for a moment, and the file could not
        // be run.
        let program = root.join("pillion");
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_pillion")).arg(&program).status();
        assert!(copied.unwrap().success());
        Self { temp, config, program }
    }

    /// A path in a volume.
    fn at(&self, volume: &str, name: &str) -> String {
        format!("{}{volume}/{name}", self.temp.path().display())
    }

    /// The command, as the user of a container, in the group of the pod.
    fn user(&self, containers: &str) -> Command {
        self.command(uid(containers), &FS_GROUP.to_string())
    }

    fn command(&self, uid: u64, group: &str) -> Command {
        let mut command = setpriv(uid, group);
        command.arg(&self.program).current_dir("/");
        command
    }
}

fn write(path: &Path, text: &str) {
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// The user of a container.
fn uid(containers: &str) -> u64 {
    pod()[containers][0]["securityContext"]["runAsUser"].as_u64().unwrap()
}

/// Another program as a user, whose own group has the same number.
fn setpriv(uid: u64, group: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}"), format!("--groups={group}")]);
    command
}
