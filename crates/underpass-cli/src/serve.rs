//! `underpass serve`: makes a server of the flags and runs it until a signal.

use anyhow::Context;
use underpass_serve::{BindError, Options, Server};

use crate::args::ServeArguments;
use crate::exit::{remedy_of_listening, say, with_remedy};

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
    .map_err(|error| with_remedy(&error, remedy(&error)))?;
    say(&format!(
        "serving {} at http://{}/ ({workers} {})",
        directory.display(),
        server.local_addr(),
        if workers.get() == 1 { "worker" } else { "workers" },
    ));
    Ok(server.run()?)
}

fn remedy(error: &BindError) -> Option<&'static str> {
    match error {
        BindError::Root(_) => Some("give a directory you may enter: underpass serve DIR"),
        BindError::Listen { source, .. } => remedy_of_listening(source.kind()),
        BindError::AccessLog { .. } => Some("give a file that can be written, '-' or 'off'"),
        BindError::Signals(_) | _ => None,
    }
}
