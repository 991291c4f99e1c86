//! Both ends of TLS connections by rustls, with a certificate made for them.
//!
//! Source: RFC 8446; RFC 5246; RFC 7468 (certificates as text).

use std::io;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// The name in the certificate, as well as 127.0.0.1.
pub const NAME: &str = "localhost";

/// Which connections are made: of one version of the protocol, by the cipher suites whose name
/// ends so.
pub type Kind = (&'static SupportedProtocolVersion, &'static str);

/// A server's certificate, signed by itself, and its key.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    ///
    /// Those of making keys.
    pub fn new() -> io::Result<Self> {
        Self::named(&[NAME, "127.0.0.1"])
    }

    /// One for these names.
    ///
    /// # Errors
    ///
    /// Those of making keys.
    pub fn named(names: &[&str]) -> io::Result<Self> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        Self::of(made)
    }

    /// One whose time is over.
    ///
    /// # Errors
    ///
    /// Those of making keys.
    pub fn expired() -> io::Result<Self> {
        let mut parameters =
            rcgen::CertificateParams::new(vec![NAME.to_owned()]).map_err(io::Error::other)?;
        parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
        let signing_key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        let cert = parameters.self_signed(&signing_key).map_err(io::Error::other)?;
        Self::of(rcgen::CertifiedKey { cert, signing_key })
    }

    fn of(made: rcgen::CertifiedKey<rcgen::KeyPair>) -> io::Result<Self> {
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let key = key.map_err(io::Error::other)?;
        Ok(Self { certificate: made.cert.der().clone(), key })
    }

    /// The certificate as peers get it.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The certificate as SSL_CERT_FILE wants it.
    #[must_use]
    pub fn pem(&self) -> String {
        let text = BASE64_STANDARD.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    /// Its key, as programs read one.
    #[must_use]
    pub fn key_pem(&self) -> String {
        let text = BASE64_STANDARD.encode(self.key.secret_der());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    /// A server that shows it.
    ///
    /// # Errors
    ///
    /// If no suite is called that.
    pub fn server(&self, (version, suites): Kind) -> io::Result<Arc<ServerConfig>> {
        ServerConfig::builder_with_provider(provider(suites))
            .with_protocol_versions(&[version])
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .map(Arc::new)
            .map_err(io::Error::other)
    }

    /// A client that trusts it, and lets secrets be taken out of its connections.
    ///
    /// # Errors
    ///
    /// If no suite is called that.
    pub fn client(&self, (version, suites): Kind) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(io::Error::other)?;
        let mut client = ClientConfig::builder_with_provider(provider(suites))
            .with_protocol_versions(&[version])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        Ok(Arc::new(client))
    }
}

fn provider(suites: &str) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|known| format!("{:?}", known.suite()).ends_with(suites));
    Arc::new(provider)
}
