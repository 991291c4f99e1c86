//! `underpass tsdb`.

mod large;
mod promtool;

use std::path::Path;
use std::process::Output;

use crate::running::program;

/// Runs a command of `tsdb` to its end.
fn tsdb(command: &str, data: &Path, arguments: &[&str]) -> Output {
    program().args(["tsdb", command]).arg(data).args(arguments).output().unwrap()
}

/// What a command prints that reads everything and complains of nothing.
fn printed(command: &str, data: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = tsdb(command, data, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command} {arguments:?}: {}: {complaint}", output.status);
    assert_eq!(complaint, "", "{command} {arguments:?}");
    output.stdout
}
