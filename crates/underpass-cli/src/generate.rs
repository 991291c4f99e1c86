//! Completions and manual pages, for packagers; both come from the definition of the flags.

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Arguments;
use crate::exit::print;

/// Prints the completions for a shell.
///
/// # Errors
///
/// If standard output takes nothing.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "underpass", &mut script);
    print(&script)
}

/// Prints the manual page of a command, or of the program.
///
/// # Errors
///
/// If there is no such command, or standard output takes nothing.
pub(crate) fn man(command: Option<&str>) -> anyhow::Result<()> {
    let mut program = Arguments::command();
    program.build();
    let page = match command {
        None => &program,
        Some(name) => program
            .find_subcommand(name)
            .filter(|command| !command.is_hide_set())
            .with_context(|| format!("there is no command {name}"))?,
    };
    let mut roff = Vec::new();
    Man::new(page.clone()).render(&mut roff)?;
    print(&roff)
}
