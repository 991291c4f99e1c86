//! The client against servers that follow a script, and against nginx and Apache.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::time::Duration;

use underpass_client::{Interrupt, Timeouts, Url};
use underpass_testkit::scripted::Scripted;

mod asking;
mod servers;

/// No wait lasts long: a test that waits for what does not come fails.
fn interrupt() -> Interrupt {
    let patience = Some(Duration::from_secs(20));
    Interrupt::never().unwrap().with(Timeouts { idle: patience, connect: patience })
}

fn url(server: &Scripted, path: &str) -> Url {
    Url::parse(&format!("http://{}{path}", server.address())).unwrap()
}
