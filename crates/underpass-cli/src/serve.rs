//! `underpass serve`: makes a server of the flags and runs it until a signal.

use std::io::{self, ErrorKind};

use anyhow::Context;
use underpass_serve::{BindError, Options, Server};

use crate::args::ServeArguments;
use crate::exit::say;

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
///
/// Those of [`Server::bind`], with what to do about them, and of [`Server::run`].
pub(crate) fn run(wanted: ServeArguments) -> anyhow::Result<()> {
    let workers = wanted.worker_count();
    let directory = std::path::absolute(&wanted.directory).context("cannot name the directory")?;
    let server = Server::bind(Options {
        root: wanted.directory,
        listen: wanted.listen,
        workers,
        access_log: wanted.access_log,
        stability: wanted.stability,
    })
    .map_err(with_remedy)?;
    say(&format!(
        "serving {} at http://{}/ ({workers} {})",
        directory.display(),
        server.local_addr(),
        if workers.get() == 1 { "worker" } else { "workers" },
    ));
    Ok(server.run()?)
}

/// The error's chain in one line, and what the user can do.
fn with_remedy(error: BindError) -> anyhow::Error {
    let remedy = remedy(&error);
    let error = anyhow::Error::from(error);
    match remedy {
        Some(remedy) => anyhow::anyhow!("{error:#}; {remedy}"),
        None => error,
    }
}

fn remedy(error: &BindError) -> Option<&'static str> {
    match error {
        BindError::Root(_) => Some("give a directory you may enter: underpass serve DIR"),
        BindError::Listen { source, .. } => remedy_of_listening(source),
        BindError::AccessLog { .. } => Some("give a file that can be written, '-' or 'off'"),
        BindError::Signals(_) | _ => None,
    }
}

fn remedy_of_listening(error: &io::Error) -> Option<&'static str> {
    [
        (ErrorKind::AddrInUse, "choose another port with --listen, or 0 for any free one"),
        (ErrorKind::AddrNotAvailable, "listen on an address of this machine, or on 0.0.0.0"),
        (ErrorKind::PermissionDenied, "ports below 1024 need root or CAP_NET_BIND_SERVICE"),
    ]
    .into_iter()
    .find_map(|(kind, remedy)| (error.kind() == kind).then_some(remedy))
}
