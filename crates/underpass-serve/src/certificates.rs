//! Certificates and their keys, as files have them, and which of them a client is shown.
//!
//! Source: RFC 6066 §3 (SNI); RFC 6125 §6.4.3 (wildcards); RFC 8446 §4.4.2.2; RFC 7468.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, KeyUsage};

/// A file is not read past this: a chain of certificates has some 10 KB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of certificates, the server's own first, and that of its key, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificates.
    pub certificates: PathBuf,
    /// The key of the first of them.
    pub key: PathBuf,
}

/// Why certificates cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file is not what it should be.
    #[error("cannot use {}: {wrong}", .0.display(), wrong = .1)]
    File(PathBuf, Wrong),
    /// rustls refuses them, as when the key is that of another certificate.
    #[error("cannot use {} with {}", .0.certificates.display(), .0.key.display())]
    Pair(Pair, #[source] rustls::Error),
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// It has none.
    #[error("it has no certificate in PEM form")]
    NoCertificate,
    /// It has none.
    #[error("it has no private key in PEM form")]
    NoKey,
    /// It is not PEM.
    #[error("it is not PEM")]
    NotPem,
    /// It is longer than any chain of certificates.
    #[error("it has more than {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// It is not an X.509 certificate.
    #[error("it is not an X.509 certificate of version 3")]
    NotX509,
    /// Its time is over.
    #[error("its certificate has expired")]
    Expired,
}

/// The certificates in use, which may be read again.
#[derive(Debug)]
pub(crate) struct Certificates {
    pairs: Vec<Pair>,
    provider: Arc<CryptoProvider>,
    shown: RwLock<Arc<Shown>>,
}

impl Certificates {
    /// Reads them.
    pub(crate) fn read(
        pairs: Vec<Pair>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, CertificateError> {
        let shown = RwLock::new(Arc::new(Shown::read(&pairs, &provider)?));
        Ok(Self { pairs, provider, shown })
    }

    /// Reads them again; if anything is wrong, those in use stay. Connections keep what they have.
    pub(crate) fn read_again(&self) -> Result<(), CertificateError> {
        let shown = Arc::new(Shown::read(&self.pairs, &self.provider)?);
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.pairs.iter().flat_map(|pair| [&*pair.certificates, &*pair.key])
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner));
        shown.of(hello.server_name(), hello.signature_schemes())
    }
}

/// Certificates with their keys.
#[derive(Debug)]
struct Shown {
    all: Vec<Arc<CertifiedKey>>,
    /// Which of them are for a name, `*.` in the place of its first label.
    by_name: HashMap<String, Vec<usize>>,
}

impl Shown {
    fn read(pairs: &[Pair], provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let (mut all, mut by_name) = (Vec::new(), HashMap::<_, Vec<_>>::new());
        for pair in pairs {
            let (certified, names) = read_pair(pair, provider)?;
            for name in names {
                by_name.entry(name).or_default().push(all.len());
            }
            all.push(Arc::new(certified));
        }
        Ok(Self { all, by_name })
    }

    /// For a name that none is for, the first: its client decides. Of several for a name the first
    /// whose key signs as the client can verify.
    fn of(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let signs = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(schemes).is_some();
        let of_name = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || format!("*{}", name.find('.').map_or("", |dot| &name[dot..]));
            self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()))
        });
        let found = match of_name {
            Some(indices) => {
                let mut those = indices.iter().filter_map(|&index| self.all.get(index));
                those.clone().find(signs).or_else(|| those.next())
            }
            None => self.all.iter().find(signs).or_else(|| self.all.first()),
        };
        found.cloned()
    }
}

/// A certificate with its chain and key, and the names that it is for.
fn read_pair(
    pair: &Pair,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<String>), CertificateError> {
    let wrong = |path: &Path, wrong| CertificateError::File(path.to_owned(), wrong);
    let certificates = &*pair.certificates;
    let of_pem = |error| {
        let has_none = matches!(error, pem::Error::NoItemsFound);
        if has_none { Wrong::NoKey } else { Wrong::NotPem }
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificates)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| wrong(certificates, Wrong::NotPem))?;
    let own = chain.first().ok_or_else(|| wrong(certificates, Wrong::NoCertificate))?;
    let names = names_of(own).map_err(|why| wrong(certificates, why))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&pair.key)?);
    let key = key.map_err(|error| wrong(&pair.key, of_pem(error)))?;
    let certified = CertifiedKey::from_der(chain, key, provider);
    Ok((certified.map_err(|error| CertificateError::Pair(pair.clone(), error))?, names))
}

/// The names of a certificate whose time is not over.
fn names_of(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Wrong> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| Wrong::NotX509)?;
    // No one is trusted here; but the dates are looked at first.
    let (now, usage) = (UnixTime::now(), KeyUsage::server_auth());
    match parsed.verify_for_usage(&[], &[], &[], now, usage, None, None) {
        Err(webpki::Error::CertExpired { .. }) => Err(Wrong::Expired),
        _ => Ok(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let read = || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        io::Read::read_to_end(&mut io::Read::take(file, FILE_BYTES_MAX + 1), &mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| CertificateError::Read(path.to_owned(), error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CertificateError::File(path.to_owned(), Wrong::TooLong));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use underpass_testkit::tls::Identity;

    use super::*;

    /// Writes a certificate and its key to files that are called so.
    fn write(dir: &Path, name: &str, identity: &Identity) -> Pair {
        let (certificates, key) =
            (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        std::fs::write(&certificates, identity.pem()).unwrap();
        std::fs::write(&key, identity.key_pem()).unwrap();
        Pair { certificates, key }
    }

    fn read_all(pairs: Vec<Pair>) -> Result<Certificates, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Certificates::read(pairs, provider).map_err(|error| crate::refusal::chain(&error))
    }

    #[test]
    fn a_client_is_shown_the_certificate_for_its_name_and_else_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let names = [&["first.test", "x.wild.test"][..], &["*.wild.test", "b.test"], &["b.test"]];
        let named = |(index, names): (usize, &&[&str])| {
            write(dir.path(), &index.to_string(), &Identity::named(names).unwrap())
        };
        let pairs: Vec<_> = names.iter().enumerate().map(named).collect();
        let shown = Shown::read(&pairs, &rustls::crypto::ring::default_provider()).unwrap();
        for (name, index) in [
            (None, 0),
            (Some("first.test"), 0),
            (Some("x.wild.test"), 0),
            (Some("Y.Wild.test"), 1),
            (Some("wild.test"), 0),
            (Some("z.y.wild.test"), 0),
            (Some("b.test"), 1),
            (Some("other"), 0),
        ] {
            // Also for a client that can verify none of them: what it is shown says why.
            for schemes in [&[SignatureScheme::ECDSA_NISTP256_SHA256][..], &[]] {
                let of_name = shown.of(name, schemes).unwrap();
                assert!(Arc::ptr_eq(&of_name, &shown.all[index]), "{name:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let good = write(dir.path(), "good", &Identity::new().unwrap());
        let other = write(dir.path(), "other", &Identity::new().unwrap());
        let expired = write(dir.path(), "expired", &Identity::expired().unwrap());
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let of = |certificates: &Path, key: &Path| {
            let pair = Pair { certificates: certificates.into(), key: key.into() };
            read_all(vec![good.clone(), pair]).map(drop).unwrap_err()
        };
        let (empty, long) = (file("empty", b""), file("long", &vec![b'\n'; 2 << 20]));
        let forged =
            file("forged", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let cut = file("cut", b"-----BEGIN CERTIFICATE-----\nAA");
        for (error, reason) in [
            (of(&empty, &good.key), "empty: it has no certificate in PEM form"),
            (of(&good.key, &good.key), "good.key: it has no certificate in PEM form"),
            (of(&cut, &good.key), "cut: it is not PEM"),
            (of(&forged, &good.key), "forged: it is not an X.509 certificate of version 3"),
            (of(&long, &good.key), "long: it has more than 1048576 bytes"),
            (of(&good.certificates, &empty), "empty: it has no private key in PEM form"),
            (
                of(&good.certificates, &other.key),
                "other.key: keys may not be consistent: KeyMismatch",
            ),
            (of(&expired.certificates, &expired.key), "expired.crt: its certificate has expired"),
            (
                of(&dir.path().join("none"), &good.key),
                "none: No such file or directory (os error 2)",
            ),
        ] {
            assert!(error.ends_with(reason), "{error}, and not {reason}");
        }
    }

    #[test]
    fn those_in_use_stay_if_the_new_ones_are_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let pair = write(dir.path(), "a", &Identity::new().unwrap());
        let certificates = read_all(vec![pair.clone()]).unwrap();
        let shown = || certificates.shown.read().unwrap().all[0].cert[0].clone();
        let first = shown();
        std::fs::write(&pair.certificates, Identity::new().unwrap().pem()).unwrap();
        assert!(certificates.read_again().is_err(), "the key is that of the first");
        assert_eq!(shown(), first);
        write(dir.path(), "a", &Identity::new().unwrap());
        certificates.read_again().unwrap();
        assert_ne!(shown(), first);
    }
}
