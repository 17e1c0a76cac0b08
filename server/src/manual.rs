//! `pillion completions` and `pillion man`: what shells and readers of manuals need, made from the command line itself.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::format::Format;
use crate::output::target::Target;

/// Arguments of `pillion completions`.
#[derive(Args, Debug)]
#[command(after_long_help = COMPLETIONS_HELP)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  pillion completions bash > /usr/share/bash-completion/completions/pillion
  pillion completions zsh > /usr/local/share/zsh/site-functions/_pillion
  pillion completions fish > ~/.config/fish/completions/pillion.fish";

/// Arguments of `pillion man`.
#[derive(Args, Debug)]
#[command(after_long_help = MAN_HELP)]
pub struct ManArgs {
    /// The command, such as `sql` or `config check` [default: pillion itself]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

const MAN_HELP: &str = "\
Examples:
  pillion man > /usr/local/share/man/man1/pillion.1
  pillion man sql | man -l -";

/// Writes what a shell needs to complete the command.
///
/// # Errors
/// Of writing.
pub fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pillion", &mut text);
    write(&text)
}

/// Writes the page of the manual of a command, as `man` reads it.
///
/// # Errors
/// Of writing; [`Exit::Usage`](crate::Exit::Usage) for a command that there is not.
pub fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut command = Cli::command();
    let mut name = command.get_name().to_owned();
    for word in &args.command {
        let found = command.find_subcommand(word).cloned();
        let known = || command.get_subcommands().map(|known| known.get_name().to_owned()).collect::<Vec<_>>();
        command = found.ok_or_else(|| {
            let message = format!("`{name}` has no command `{word}`; there are {}", known().join(", "));
            Failure::usage(message)
        })?;
        name = format!("{name}-{word}");
    }
    // The page is named after the whole command, as those of other programs with commands are.
    let page = clap_mangen::Man::new(command.bin_name(name.replace('-', " ")).display_name(name));
    let mut text = Vec::new();
    let target = Target::stdout(Format::Table)?;
    page.render(&mut text).map_err(|error| target.explain(&error))?;
    write(&text)
}

fn write(text: &[u8]) -> Result<(), Failure> {
    let target = Target::stdout(Format::Table)?;
    let mut out = target.sink().clone();
    out.write_all(text).map_err(|error| target.explain(&error))?;
    target.finish()
}
