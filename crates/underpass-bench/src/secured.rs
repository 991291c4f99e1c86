//! A client over TLS, and what a server needs to have one.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use underpass::tls::rustls::version::TLS13;
use underpass::tls::rustls::{ClientConfig, ClientConnection, StreamOwned};
use underpass_testkit::tls::{Identity, NAME};

use super::load::{Head, get};

/// A certificate in files, and clients that trust it.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
    client: Arc<ClientConfig>,
}

impl Certificate {
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let identity = Identity::new()?;
        let [certificate, key] = ["bench.crt", "bench.key"].map(|name| dir.join(name));
        fs::write(&certificate, identity.pem())?;
        fs::write(&key, identity.key_pem())?;
        Ok(Self { certificate, key, client: identity.client((&TLS13, "AES_256_GCM_SHA384"))? })
    }

    /// A client that speaks HTTP/2 and nothing else.
    pub(crate) fn client_of_http2(&self) -> ClientConfig {
        let mut client = ClientConfig::clone(&self.client);
        client.alpn_protocols = vec![b"h2".to_vec()];
        client
    }
}

/// One connection, one request after the other.
#[derive(Debug)]
pub(crate) struct Secured {
    stream: StreamOwned<ClientConnection, TcpStream>,
    request: Vec<u8>,
    body_bytes: u64,
}

impl Secured {
    pub(crate) fn new(
        address: SocketAddr,
        path: &str,
        body_bytes: u64,
        trusted: &Certificate,
    ) -> Result<Self> {
        let client = ClientConnection::new(Arc::clone(&trusted.client), NAME.try_into()?)?;
        let socket = TcpStream::connect(address).with_context(|| address.to_string())?;
        socket.set_nodelay(true)?;
        Ok(Self { stream: StreamOwned::new(client, socket), request: get(path), body_bytes })
    }

    /// The socket beneath.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream.sock
    }

    /// Asks for the body, and waits for its last byte.
    pub(crate) fn ask_and_wait(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        let (mut received, mut room) = (Vec::new(), [0; 16 << 10]);
        loop {
            let read = self.stream.read(&mut room)?;
            received.extend_from_slice(room.get(..read).unwrap_or_default());
            match Head::parse(&received) {
                Some(head) if !head.is_of(self.body_bytes) => bail!("another head"),
                Some(head) if head.is_followed_by(&received, self.body_bytes) => return Ok(()),
                None | Some(_) => {}
            }
            if read == 0 {
                bail!("the connection ended after {} bytes", received.len());
            }
        }
    }

    /// Asks, and reads until the socket is shut down; returns the bytes that came.
    pub(crate) fn count(mut self) -> u64 {
        let (mut room, mut sum) = (vec![0; 1 << 16], 0);
        if self.stream.write_all(&self.request).is_err() {
            return 0;
        }
        while let Ok(n @ 1..) = self.stream.read(&mut room) {
            sum += n as u64;
        }
        sum
    }
}
