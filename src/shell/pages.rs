//! `stentor completions` and `stentor man`, made from the definitions of the command.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Fault;
use super::output::{Format, Printer};
use crate::command::cli::Cli;

/// Prints the script of a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Fault> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stentor", &mut script);
    print(&script)
}

/// Prints the manual page of `stentor`, or writes the pages of all its commands.
pub(crate) fn man(directory: Option<&Path>) -> Result<(), Fault> {
    let command = Cli::command();
    match directory {
        Some(directory) => clap_mangen::generate_to(command, directory).map_err(Fault::Output),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(Fault::Output)?;
            print(&page)
        }
    }
}

fn print(text: &[u8]) -> Result<(), Fault> {
    let text = String::from_utf8_lossy(text);
    Printer::to_stdout(Format::Words, false).line(text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands below this one, with the words that lead to them.
    fn all(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
        let own = format!("{words}{}", command.get_name());
        let below = command.get_subcommands().flat_map(|below| all(below, &format!("{own} ")));
        std::iter::once((own.clone(), command.clone())).chain(below.collect::<Vec<_>>()).collect()
    }

    #[test]
    fn each_command_and_each_flag_has_help() {
        let commands = all(&Cli::command(), "");
        assert!(commands.len() > 35, "{} commands", commands.len());
        for (words, command) in commands {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{words} says nothing of itself");
            for flag in command.get_arguments() {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "`{words}`: {} has no help", flag.get_id());
            }
        }
    }

    #[test]
    fn each_page_names_its_flags_and_what_they_do() {
        let directory = tempfile::tempdir().unwrap();
        man(Some(directory.path())).unwrap();
        for (words, command) in all(&Cli::command(), "") {
            let name = words.replace(' ', "-");
            let page = std::fs::read_to_string(directory.path().join(format!("{name}.1"))).unwrap();
            for flag in command.get_arguments().filter_map(|flag| flag.get_long()) {
                let flag = flag.replace('-', "\\-");
                assert!(page.contains(&flag), "{name}.1 lacks --{flag}");
            }
            assert!(page.contains(".SH DESCRIPTION"), "{name}.1");
        }
        let page = std::fs::read_to_string(directory.path().join("stentor-call.1")).unwrap();
        assert!(page.contains("3 no connection"), "exit codes stand in the manual");
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "stentor", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["register", "acknowledge", "completions", "slow-consumer"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
