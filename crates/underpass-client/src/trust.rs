//! Whose certificates are believed.
//!
//! A server may present the very certificate that was named as an authority: `openssl req -x509`
//! makes such ones, which sign themselves and are of an authority by their own words. RFC 5280 lets
//! no authority be a server, and so does webpki; but who names a certificate trusts it, as OpenSSL
//! sees it. Its dates and its names are checked even so.
//!
//! Source: RFC 5280 §4.2.1.9; RFC 9525 (names); curl(1), `--cacert`, `--insecure`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Which authorities are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// This machine's, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    #[default]
    Machine,
    /// Those in this file, in PEM form, and no others.
    File(PathBuf),
    /// No certificate is checked: anybody in between can read and change everything.
    Anybody,
}

impl Trust {
    /// The configuration of TLS connections.
    pub(crate) fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let known = match self {
            Self::Machine => Some(of_machine()?),
            Self::File(path) => Some(of_file(path)?),
            Self::Anybody => None,
        };
        let known = known.map(|known| Known::new(known, &provider)).transpose()?;
        let verifier = Arc::new(Verifier { known, provider: Arc::clone(&provider) });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // For the kernel.
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }
}

type Certificates = Vec<CertificateDer<'static>>;

fn of_machine() -> io::Result<Certificates> {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        let why = "this machine has no certificates of authorities; name a file of them with \
                   --cacert or SSL_CERT_FILE";
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok(found)
}

fn of_file(path: &Path) -> io::Result<Certificates> {
    let wrong = |why: &dyn std::fmt::Display| {
        let why = format!("cannot take certificates from {}: {why}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, why)
    };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<_, _>>);
    let found: Certificates = found.map_err(|error| wrong(&error))?;
    if found.is_empty() { Err(wrong(&"it has none in PEM form")) } else { Ok(found) }
}

/// Certificates that are trusted.
#[derive(Debug)]
struct Known {
    certificates: Certificates,
    webpki: Arc<WebPkiServerVerifier>,
}

impl Known {
    fn new(certificates: Certificates, provider: &Arc<CryptoProvider>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let (_, _unusable) = roots.add_parsable_certificates(certificates.iter().cloned());
        let builder =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        Ok(Self { certificates, webpki: builder.build().map_err(io::Error::other)? })
    }
}

#[derive(Debug)]
struct Verifier {
    /// None if anybody is believed.
    known: Option<Known>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(Known { certificates, webpki }) = &self.known else {
            return Ok(ServerCertVerified::assertion());
        };
        match webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // webpki has looked at the dates before.
            Err(error) if is_authority(&error) && certificates.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether the server's certificate is one of an authority.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// The same error, with what to do about it.
pub(crate) fn explained(error: io::Error) -> io::Error {
    let why = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) if is_authority(error) => {
            "its certificate signs itself; if it is the right one, name its file with --cacert"
        }
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "no authority that is trusted here has signed its certificate; name the file of the \
             right one with --cacert"
        }
        Some(_) | None => return error,
    };
    io::Error::new(io::ErrorKind::InvalidData, why)
}
