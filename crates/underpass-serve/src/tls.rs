//! TLS of a server: its certificates, and what is agreed on with clients.
//!
//! Source: RFC 8446; RFC 7301 (ALPN).

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};

use crate::certificates::{CertificateError, Certificates, Pair};
use crate::refusal::chain;
use crate::to_https::ClearListeners;

/// What to be known by, and how to speak.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Certificates with their keys. A client that names none of their names is shown the first.
    pub pairs: Vec<Pair>,
    /// Whether TLS 1.2 is refused.
    pub only_13: bool,
    /// Whether the kernel may have the keys, and make and read the records.
    pub in_kernel: bool,
}

/// TLS as all workers speak it.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    certificates: Arc<Certificates>,
    pub(crate) config: Arc<ServerConfig>,
    clear: Arc<ClearListeners>,
}

impl Tls {
    /// Reads the certificates.
    pub(crate) fn new(
        options: TlsOptions,
        clear: ClearListeners,
    ) -> Result<Self, CertificateError> {
        let TlsOptions { pairs, only_13, in_kernel } = options;
        let provider = Arc::new(ring::default_provider());
        let certificates = Arc::new(Certificates::read(pairs, Arc::clone(&provider))?);
        let versions = if only_13 { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ring has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Certificates>::clone(&certificates));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_secret_extraction = in_kernel;
        // Clients keep their sessions, sealed in tickets; no memory is needed for them here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Ok(ticketer) = ring::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(Self { certificates, config: Arc::new(config), clear: Arc::new(clear) })
    }

    /// Has clients choose HTTP/2, if they can speak it.
    pub(crate) fn offering_http2(mut self) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols.insert(0, b"h2".to_vec());
        self
    }

    /// The port to which those are sent who come through this listener, if it is not one of TLS.
    pub(crate) fn https_port(&self, listener: usize) -> Option<u16> {
        self.clear.port_of(listener)
    }

    /// Reads the certificates again, for the connections to come.
    pub(crate) fn reload(&self) {
        if let Err(error) = self.certificates.read_again() {
            tracing::warn!("the certificates stay what they were: {}", chain(&error));
        }
    }

    /// The files that are read again.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.certificates.paths()
    }
}
