//! Tells the examples how they were built, so that they can say what their measurements mean.

fn main() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let build = match (variable("PROFILE").as_str(), variable("OPT_LEVEL").as_str()) {
        ("release", _) => "a release build",
        (_, "0") => "a debug build; see what it can do with --release",
        _ => {
            "Pillion is optimised and the libraries below it are not: SQL is several times faster with --release"
        }
    };
    println!("cargo:rustc-env=PILLION_BUILD={build}");
    println!("cargo:rerun-if-changed=build.rs");
}
