//! Arguments of a bench.

use std::path::PathBuf;

use crate::Result;

/// What the arguments of every bench mean.
pub const USAGE: &str = "\
  --quick     small tables and short rounds: ends after seconds, shows that it works, measures nothing
  --large     also the rows with 10,000,000 rows
  --only TEXT only rows whose figure or name contains TEXT
  --out DIR   where to write the JSON and the chart; `bench` in Cargo's target folder unless told otherwise";

/// Arguments of a bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Small tables and short rounds.
    pub quick: bool,
    /// Also rows that take long.
    pub large: bool,
    /// Part of the figure or name of the rows to run.
    pub only: Option<String>,
    /// Folder of the files that are written.
    pub out: PathBuf,
    /// Whether `cargo bench` started the program; `cargo test --benches` starts it without.
    pub bench: bool,
    /// Whether to print [`USAGE`] and do nothing.
    pub help: bool,
}

impl Options {
    /// Reads arguments, without the program's name.
    ///
    /// # Errors
    /// An unknown argument, or one without its value.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options =
            Self { quick: false, large: false, only: None, out: default_out(), bench: false, help: false };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--large" => options.large = true,
                "--only" => options.only = Some(value()?),
                "--out" => options.out = value()?.into(),
                "--bench" => options.bench = true,
                "--help" | "-h" => options.help = true,
                _ => return Err(format!("unknown argument `{argument}`\n{USAGE}").into()),
            }
        }
        Ok(options)
    }

    /// Whether the options select a row with this figure and name.
    pub fn wants(&self, figure: &str, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| figure == only || name.contains(only.as_str()))
    }
}

/// `bench` in the folder where Cargo built this program. `cargo bench` runs the program in the package's folder and
/// `cargo run` in the user's folder, and neither is the place for temporary files.
fn default_out() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap_or_else(|| "target".as_ref()).join("bench")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options> {
        Options::parse(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn arguments_are_read() {
        let options = parse(&["--quick", "--out", "somewhere", "--only", "P1", "--bench"]).unwrap();
        assert!(options.quick && options.bench && !options.large && !options.help);
        assert_eq!(options.out, PathBuf::from("somewhere"));
        assert!(options.wants("P1", "get"));
        assert!(!options.wants("P10", "load"));
        let options = parse(&[]).unwrap();
        assert!(options.wants("P10", "load"));
        assert!(options.out.ends_with("bench"), "{}", options.out.display());
    }

    #[test]
    fn unknown_and_incomplete_arguments_are_refused() {
        assert!(parse(&["--fast"]).unwrap_err().to_string().contains("`--fast`"));
        assert!(parse(&["--out"]).unwrap_err().to_string().contains("--out needs a value"));
    }
}
