//! Handing a connection over to the kernel, in two halves: asking, which changes nothing that
//! rustls relies on, and giving the keys, after which the connection is the kernel's.
//!
//! Under TLS 1.2 with AES-GCM rustls counts its explicit nonces by exclusive or with the number of
//! the record, and the kernel by adding one to the first. Begun where rustls did, the kernel would
//! use the nonce of rustls' Finished a second time, which gives the plain text and the
//! authentication key away. So it begins 2^63 further.
//!
//! Source: RFC 5288 §3; NIST SP 800-38D §8; Documentation/networking/tls.rst.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustls::ProtocolVersion;
use rustls::{CipherSuite, ConnectionCommon, ConnectionTrafficSecrets, ExtractedSecrets};
use underpass_sys::tls::{self, Direction, Keys, Version};

use super::kernel::Kernel;
use super::probe::{self, Cipher};

/// Why the kernel does not make and read a connection's records. rustls does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The kernel was built without TLS, or its module is not loaded.
    #[error("the kernel has no TLS; modprobe tls loads its module where there is one")]
    NoModule,
    /// The kernel does not encrypt that way.
    #[error("the kernel does not do {cipher} for {version}: {errno}")]
    Cipher {
        /// As RFC 5116 and RFC 8439 name it.
        cipher: &'static str,
        /// `TLS 1.2` or `TLS 1.3`.
        version: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The configuration does not let rustls give its keys away.
    #[error("rustls may not give its keys away (enable_secret_extraction)")]
    NotPermitted,
    /// Version or cipher suite are not among those of kernel TLS.
    #[error("version or cipher suite of the connection are not among those of kernel TLS")]
    Unknown,
    /// The handshake is not over, or the last of it not sent.
    #[error("the handshake is not over")]
    Handshaking,
    /// Bytes of the peer are in this process: content that has not been read, or half a record.
    #[error("bytes of the peer have been read that the kernel would need")]
    ReadAhead,
    /// The connection is closed, or of another kind than TCP.
    #[error("the socket does not take kernel TLS: {0}")]
    Socket(Errno),
}

/// The kernel's consent to make and read the records of a connection.
#[derive(Debug, Clone, Copy)]
#[must_use = "without the keys nothing has been handed over"]
pub(super) struct Handover {
    version: Version,
}

impl Handover {
    /// Asks whether the kernel can have the connection, whose handshake is over. `is_between` says
    /// that nothing has been read of a record that the kernel is to decrypt.
    ///
    /// Whether the kernel knows a cipher is tried once a process, over two sockets on loopback.
    pub(super) fn prepare<D>(
        connection: &mut ConnectionCommon<D>,
        socket: BorrowedFd<'_>,
        is_between: bool,
    ) -> Result<Self, Unavailable> {
        if connection.is_handshaking() || connection.wants_write() {
            return Err(Unavailable::Handshaking);
        }
        // An error is found again by the first read.
        let state = connection.process_new_packets().map_err(|_| Unavailable::ReadAhead)?;
        if state.plaintext_bytes_to_read() > 0 || !is_between {
            return Err(Unavailable::ReadAhead);
        }
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => return Err(Unavailable::Unknown),
        };
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let known = CIPHERS.into_iter().find(|(known, _)| Some(*known) == suite);
        let (_, cipher) = known.ok_or(Unavailable::Unknown)?;
        probe::once(version, cipher)?;
        match tls::attach(socket) {
            Ok(()) => Ok(Self { version }),
            Err(Errno::NOENT) => Err(Unavailable::NoModule),
            Err(errno) => Err(Unavailable::Socket(errno)),
        }
    }

    /// Gives the kernel the keys of the connection that was asked for.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2), which are not expected after [`Self::prepare`]; the connection is
    /// then of no use.
    pub(super) fn finish(
        self,
        secrets: ExtractedSecrets,
        socket: BorrowedFd<'_>,
    ) -> io::Result<Kernel> {
        let (sent, keys) = secrets.tx;
        let keys = to_send(keys_of(&keys)?, self.version);
        tls::set_keys(socket, Direction::Send, self.version, &keys, sent)?;
        let (received, keys) = secrets.rx;
        let keys = keys_of(&keys)?;
        tls::set_keys(socket, Direction::Receive, self.version, &keys, received)?;
        Ok(Kernel::new(self.version))
    }
}

const CIPHERS: [(CipherSuite, Cipher); 9] = [
    (CipherSuite::TLS13_AES_128_GCM_SHA256, Cipher::Aes128Gcm),
    (CipherSuite::TLS13_AES_256_GCM_SHA384, Cipher::Aes256Gcm),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, Cipher::Chacha20Poly1305),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, Cipher::Aes128Gcm),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, Cipher::Aes256Gcm),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, Cipher::Chacha20Poly1305),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, Cipher::Aes128Gcm),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, Cipher::Aes256Gcm),
    (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, Cipher::Chacha20Poly1305),
];

/// Keys of which no nonce has been used, given those that rustls has sent with.
fn to_send(mut keys: Keys, version: Version) -> Keys {
    if let (Version::Tls12, Keys::Aes128Gcm { iv, .. } | Keys::Aes256Gcm { iv, .. }) =
        (version, &mut keys)
    {
        let [_, _, _, _, explicit, ..] = iv;
        *explicit ^= 0x80;
    }
    keys
}

fn keys_of(secrets: &ConnectionTrafficSecrets) -> io::Result<Keys> {
    fn array<const N: usize>(bytes: &impl AsRef<[u8]>) -> io::Result<[u8; N]> {
        bytes.as_ref().try_into().map_err(io::Error::other)
    }
    Ok(match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
            Keys::Aes128Gcm { key: array(key)?, iv: array(iv)? }
        }
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
            Keys::Aes256Gcm { key: array(key)?, iv: array(iv)? }
        }
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            Keys::Chacha20Poly1305 { key: array(key)?, iv: array(iv)? }
        }
        _ => return Err(io::Error::other("keys of a cipher that kernel TLS does not know")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_nonces_begin_far_from_those_that_rustls_used() {
        let keys = Keys::Aes128Gcm { key: [1; 16], iv: [0x7f; 12] };
        let Keys::Aes128Gcm { iv, .. } = to_send(keys, Version::Tls12) else { unreachable!() };
        let explicit = |iv: [u8; 12]| u64::from_be_bytes(iv[4..].try_into().unwrap());
        assert_eq!(explicit(iv).wrapping_sub(explicit([0x7f; 12])), 1 << 63);
        assert_eq!(iv[..4], [0x7f; 4]);
        let Keys::Aes128Gcm { iv, .. } = to_send(keys, Version::Tls13) else { unreachable!() };
        assert_eq!(iv, [0x7f; 12]);
    }
}
