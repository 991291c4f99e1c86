//! Serves a directory from another program: `cargo run --example folder -- DIR ADDRESS`.

use std::num::NonZeroUsize;

use underpass_serve::access_log::Sink;
use underpass_serve::{Options, Server, Settings, SiteOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().unwrap_or_else(|| ".".into()).into();
    let daemon = Settings {
        listen: vec![arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into()).parse()?],
        workers: NonZeroUsize::MIN,
        grace: None,
        connections_max: None,
        connections_per_address: None,
        metrics: None,
        log: Sink::Off,
    };
    let server = Server::bind(Options { daemon, site: SiteOptions::new(root) })?;
    server.run()?;
    Ok(())
}
