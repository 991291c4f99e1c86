//! `underpass log` and requests as no good client sends them, byte by byte.

mod hostile;
mod produce;

use std::net::SocketAddr;
use std::path::Path;

use underpass_testkit::log::client::Client;

use crate::running::{Running, program};

/// A server of a directory, which ends with the test.
struct Broker {
    running: Running,
    address: SocketAddr,
}

impl Broker {
    fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    fn start_with(data: &Path, flags: &[&str]) -> Self {
        let mut command = program();
        command.args(["log", "--listen", "127.0.0.1:0", "--workers", "1", "--data"]).arg(data);
        command.args(flags);
        let running = Running::start(&mut command);
        let after = running.line.split_once(" at ").map(|(_, after)| after);
        let address = after.and_then(|after| after.split_once(' ')).map(|(address, _)| address);
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("it says {:?}", running.line));
        Self { running, address }
    }

    fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// Creates a topic of two partitions.
    fn create(&self, name: &str, configs: &[(&str, &str)]) {
        assert_eq!(self.client().create_topic(name, 2, configs).unwrap(), 0);
    }
}
