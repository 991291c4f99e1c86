//! `underpass log` as a child, and what its commands say of it.

use std::net::SocketAddr;
use std::path::Path;

use underpass_testkit::log::client::Client;

use crate::running::{Running, program};

/// A server that ends with the test.
pub(crate) struct Log {
    _running: Running,
    pub(crate) address: SocketAddr,
}

impl Log {
    /// Starts one that keeps its topics in `data`.
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Self {
        let mut command = program();
        command.arg("log").arg("--data").arg(data).args(["--workers", "1"]).args(flags);
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let running = Running::start(&mut command);
        let after = running.line.split_once(" at ").expect(&running.line).1;
        let address = after.split([' ', '\n']).next().unwrap().parse().unwrap();
        Self { _running: running, address }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// What a command such as `topics list` says of it: exit code, standard output, standard
    /// error.
    pub(crate) fn says(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = program();
        command.arg("log").args(&arguments[..2]).args(["--bootstrap", &self.address.to_string()]);
        Running::quiet(command.args(&arguments[2..])).end_of_text()
    }
}
