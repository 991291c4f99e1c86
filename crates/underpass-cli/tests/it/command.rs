//! Runs of the program that end by themselves.

use std::process::{Command, Output, Stdio};

/// Runs `underpass` to its end with nothing on standard input.
pub(crate) fn underpass(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_underpass"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_meant() {
    for (arguments, part) in [
        (&["serve", "--listen", "nonsense"][..], "give HOST:PORT"),
        (&["serve", "--listen", "127.0.0.1"], "give HOST:PORT"),
        (&["serve", "--workers", "0"], "give a number from 1 to 1024"),
        (&["serve", "--stability", "maybe"], "[possible values: none, guard, lease, copy]"),
        (&["serve", "a", "b"], "unexpected argument 'b'"),
        (&["serve", "--prot", "1"], "unexpected argument '--prot'"),
        (&["sevre"], "unrecognized subcommand 'sevre'"),
        (&[], "Usage: underpass <COMMAND>"),
    ] {
        let output = underpass(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_shows_examples_and_what_is_not_copied() {
    let output = underpass(&["serve", "--help"]);
    let help = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "Nothing outside of DIR is ever reached",
        "[default: 127.0.0.1:8080]",
        "[default: guard]",
        "one for each processor",
        "underpass serve --listen 0 --workers 1",
        "sendfile(2)",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
    let program = underpass(&["--help"]);
    let help = text(&program.stdout);
    assert!(help.contains("serve") && !help.contains("completions"), "{help}");
}

#[test]
fn packagers_get_completions_and_manual_pages() {
    for (arguments, part) in [
        (&["completions", "bash"][..], "complete -F _underpass"),
        (&["completions", "zsh"], "#compdef underpass"),
        (&["completions", "fish"], "complete -c underpass"),
        (&["man"], ".TH underpass 1"),
        (&["man", "serve"], ".TH underpass-serve 1"),
    ] {
        let output = underpass(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains(part), "{arguments:?}: {}", text(&output.stdout));
    }
    let output = underpass(&["man", "sevre"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "underpass man: there is no command sevre\n");
}

#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = Command::new(env!("CARGO_BIN_EXE_underpass"))
        .args(["completions", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}
