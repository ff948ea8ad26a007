//! What the help of every command ends with: its exit codes and an example.

/// The end of a command's help; what is special about the command first, if anything is.
macro_rules! example {
    ($example:expr) => {
        concat!("Exit codes: 0 done, 2 the command failed.\n\nExample: ", $example)
    };
    ($about:expr, $example:expr) => {
        concat!($about, "\n\nExit codes: 0 done, 2 the command failed.\n\nExample: ", $example)
    };
}

/// The same for a command that may wait for a job.
macro_rules! ends_with_the_job {
    ($about:expr, $example:expr) => {
        concat!(
            $about,
            "\n\nExit codes: 0 done, 1 the job did not succeed, 2 the command failed.\n\nExample: ",
            $example
        )
    };
}

/// The same for all commands together.
macro_rules! all_commands {
    ($about:expr, $example:expr) => {
        concat!(
            $about,
            "\n\nExit codes: 0 done, 1 the job did not succeed or something is not well, 2 the command failed.",
            "\n\nExample: ",
            $example
        )
    };
}

/// The same for a command that says whether the engine is well.
macro_rules! says_whether_well {
    ($example:expr) => {
        concat!("Exit codes: 0 work gets done, 1 it does not (✕), 2 the command failed.\n\nExample: ", $example)
    };
}

/// The same for a command that looks for what is wrong.
macro_rules! found_wrong {
    ($example:expr) => {
        concat!("Exit codes: 0 everything loads, 1 something does not, 2 the command failed.\n\nExample: ", $example)
    };
}

pub(super) use {all_commands, ends_with_the_job, example, found_wrong, says_whether_well};

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, Parser};

    use crate::cli::Arguments;

    /// The command and all below it, with their names in full.
    fn all(command: &Command, above: &str) -> Vec<(String, Command)> {
        let name = format!("{above} {}", command.get_name()).trim().to_owned();
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        let below: Vec<_> = below.flat_map(|below| all(below, &name)).collect();
        [vec![(name, command.clone())], below].concat()
    }

    #[test]
    fn every_help_has_an_example_and_exit_codes_and_fits_80_columns() {
        let mut root = Arguments::command();
        root.build();
        let commands = all(&root, "");
        assert!(commands.len() > 15, "{}", commands.len());
        for (name, mut command) in commands {
            for help in [command.render_help().to_string(), command.render_long_help().to_string()] {
                assert!(help.contains("Exit codes: 0 "), "{name}:\n{help}");
                let example = help.lines().last().and_then(|line| line.strip_prefix("Example: "));
                let example = example.unwrap_or_else(|| panic!("an example on a line of its own:\n{help}"));
                assert!(example.starts_with(&name), "{name}: {example}");
                let words = example.split(' ').take_while(|word| *word != "<");
                assert!(Arguments::try_parse_from(words).is_ok(), "{example}");
                for line in help.lines() {
                    assert!(line.chars().count() <= 80, "{name}: {line}");
                }
            }
        }
    }
}
