//! An https server of one file: rustls shakes hands, and where the kernel can, it encrypts what
//! sendfile(2) gives it.
//!
//! `cargo run --example https --features tls -- 127.0.0.1:8443 cert.pem key.pem large.bin`
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a program says what it does")]

use std::error::Error;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use underpass::tls::TlsStream;
use underpass::tls::rustls::ServerConfig;
use underpass::tls::rustls::crypto::ring;
use underpass::tls::rustls::pki_types::pem::PemObject;
use underpass::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use underpass::{Source, Transfer};

/// How long a client has for its handshake, and for its request.
const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST_BYTES_MAX: usize = 8192;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, certificates, key, file] = &arguments[..] else {
        return Err("usage: https ADDRESS CERTIFICATES.pem KEY.pem FILE".into());
    };
    let listener = TcpListener::bind(address).await?;
    serve(listener, config(certificates, key)?, File::open(file)?).await?;
    Ok(())
}

/// A server's configuration that lets the kernel have the keys.
pub(crate) fn config(certificates: &str, key: &str) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificates)?.collect();
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates?, key)?;
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// Sends the file to every client, whatever it asks for.
pub(crate) async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    file: File,
) -> io::Result<()> {
    let file = Arc::new(file);
    loop {
        let (socket, peer) = listener.accept().await?;
        let (config, file) = (Arc::clone(&config), Arc::clone(&file));
        tokio::spawn(async move {
            if let Err(error) = answer(config, socket, &file).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn answer(config: Arc<ServerConfig>, socket: TcpStream, file: &File) -> io::Result<()> {
    let mut tls = timeout(PATIENCE, TlsStream::accept(config, socket)).await??;
    match tls.unavailable() {
        None => eprintln!("the kernel encrypts"),
        Some(why) => eprintln!("encrypting in user space: {why}"),
    }
    timeout(PATIENCE, read_request(&mut tls)).await??;
    let len = file.metadata()?.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    let mut response =
        Transfer::new(Source::bytes(head), tls.sink()).chain(Source::file(file, ..len)?);
    response.drive().await?;
    drop(response);
    tls.shutdown().await
}

async fn read_request(tls: &mut TlsStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == REQUEST_BYTES_MAX || tls.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}
