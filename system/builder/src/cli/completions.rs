//! `selkie completions`: completion scripts for shells.
//!
//! The scripts are those of `clap_complete`, with the names of the systems and boards in the repository at that time.

use std::path::Path;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Args, Command as Clap, CommandFactory, ValueHint};
use clap_complete::Shell;

use super::{Command, Context, make};

/// Options of `selkie completions`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn command(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let script = script(&context.root, options.shell);
    context.ui.result(script.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn script(root: &Path, shell: Shell) -> String {
    let names = Names {
        systems: make::names(root),
        boards: boards(root),
        shell,
    };
    let mut command = names.told(Command::command());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "selkie", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Possible values of arguments.
struct Names {
    systems: Vec<String>,
    boards: Vec<String>,
    shell: Shell,
}

impl Names {
    /// Adds these names to the arguments of a command and of its subcommands.
    fn told(&self, command: Clap) -> Clap {
        let subcommands: Vec<String> = command
            .get_subcommands()
            .map(|subcommand| subcommand.get_name().to_owned())
            .collect();
        let command = command.mut_args(|argument| self.argument(argument));
        subcommands.iter().fold(command, |command, name| {
            command.mut_subcommand(name, |subcommand| self.told(subcommand))
        })
    }

    fn argument(&self, argument: Arg) -> Arg {
        let values = argument.get_value_names().unwrap_or_default();
        let is = |name: &str| values.len() == 1 && values[0].as_str() == name;
        match argument.get_id().as_str() {
            "board" => argument.value_parser(PossibleValuesParser::new(self.boards.clone())),
            // zsh would complete only the names, but the argument may also be a file.
            "system" if self.shell == Shell::Zsh => argument.value_hint(ValueHint::FilePath),
            "system" => argument.value_parser(PossibleValuesParser::new(self.systems.clone())),
            _ if is("FILE") => argument.value_hint(ValueHint::FilePath),
            _ => argument,
        }
    }
}

/// Returns the names of the boards in `system/boards`.
fn boards(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("system/boards"));
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_suffix(".toml")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;

    fn printed(shell: Shell) -> String {
        script(&crate::cli::root(), shell)
    }

    #[test]
    fn each_shell_completes_commands_options_and_boards() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = printed(shell);
            for word in ["provision", "completions", "detach", "qemu_virt_aarch64"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn bash_completes_the_names_of_systems() {
        let complete = |words: &[&str]| {
            let last = words.len() - 1;
            let (command, word, before) = (words[0], words[last], words[last - 1]);
            let line = words.join(" ");
            let lines = format!(
                "{}\nCOMP_WORDS=({line}); COMP_CWORD={last}; _selkie {command} '{word}' {before}; echo \"${{COMPREPLY[@]}}\"",
                printed(Shell::Bash)
            );
            let output = Process::new("bash").args(["-c", &lines]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(complete(&["selkie", "run", "htt"]), "http https");
        assert_eq!(
            complete(&["selkie", "build", "https", "--board", "pc"]),
            "pc99"
        );
        assert_eq!(complete(&["selkie", "prov"]), "provision");
    }
}
