//! The client against servers that follow a script, and against nginx and Apache.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use underpass::tls::rustls::version::TLS13;
use underpass::tls::rustls::{ServerConnection, StreamOwned};
use underpass_client::{Client, Interrupt, Response, Timeouts, Trust, Url};
use underpass_testkit::scripted::Scripted;
use underpass_testkit::tls::Identity;

mod asking;
mod keeping;
mod putting;
mod servers;

/// Threads share a client and what ends its waits, and an answer may go from one to another.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    const fn is_sent<T: Send>() {}
    is_shared::<Client>();
    is_shared::<Interrupt>();
    is_sent::<Response<'_>>();
};

/// No wait lasts long: a test that waits for what does not come fails.
fn interrupt() -> Interrupt {
    let patience = Some(Duration::from_secs(20));
    Interrupt::never().unwrap().with(Timeouts { idle: patience, connect: patience })
}

fn url(server: &Scripted, path: &str) -> Url {
    Url::parse(&format!("http://{}{path}", server.address())).unwrap()
}

/// A server that follows a script over TLS.
fn secured<const N: usize>(identity: &Identity, script: [Vec<&str>; N]) -> Scripted {
    let config = identity.server((&TLS13, "AES_256_GCM_SHA384")).unwrap();
    Scripted::over(script, move |peer| {
        let connection =
            ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, peer)))
    })
    .unwrap()
}

/// A client that trusts it; the certificate is put into `directory`.
fn trusting(identity: &Identity, directory: &Path) -> Client {
    let path = directory.join("cert.pem");
    std::fs::write(&path, identity.pem()).unwrap();
    let mut client = Client::default();
    client.trust = Trust::File(path);
    client
}
