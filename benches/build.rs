//! Tells the report which compiler and profile it was built with.

use std::process::Command;

fn main() {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    let version = Command::new(variable("RUSTC")).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    let version = version.as_deref().map_or("unknown", str::trim);
    println!("cargo::rustc-env=PILLION_BENCHES_RUSTC={version}");
    println!("cargo::rustc-env=PILLION_BENCHES_PROFILE={}", variable("PROFILE"));
    println!("cargo::rustc-env=PILLION_BENCHES_OPT_LEVEL={}", variable("OPT_LEVEL"));
    println!("cargo::rerun-if-changed=build.rs");
}
