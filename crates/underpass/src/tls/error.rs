//! How TLS fails.
//!
//! Source: RFC 8446 §4.6, §6; RFC 5246 §7.2, §7.4.1.1.

use std::fmt;
use std::io;

/// Why a TLS connection brings or takes no more content, although the peer did not end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer gave up, for this reason.
    #[error("the peer ended TLS with alert {name} ({0})", name = AlertName(*.0))]
    Alert(u8),
    /// The connection closed without close_notify: an attacker may have cut it.
    #[error("the connection closed without close_notify; the content may be cut short")]
    CutShort,
    /// The peer changed its keys, and the kernel's are the old ones.
    #[error(
        "the peer changed its keys (KeyUpdate), which the kernel's TLS does not follow; continue \
         over a new connection"
    )]
    KeyUpdate,
    /// A handshake message of this type where there can be none.
    #[error("the peer sent a handshake message of type {0} after the handshake")]
    Handshake(u8),
    /// A record of this type where there can be none, or one without content.
    #[error("the peer sent a TLS record of type {0} out of place")]
    Record(u8),
    /// More than any peer has to say between its content.
    #[error("the peer sent more than {0} bytes of TLS messages between its content")]
    Chatter(u32),
    /// The peer broke the protocol.
    #[error("the peer broke the TLS protocol")]
    Protocol,
    /// This end has sent all that one key may encrypt.
    #[error(
        "one key has encrypted as many TLS records as it may (RFC 8446, 5.5); continue over a new \
         connection"
    )]
    KeyUsedUp,
}

impl From<TlsError> for io::Error {
    /// `UnexpectedEof` for a connection that was cut, `InvalidData` for the rest.
    fn from(error: TlsError) -> Self {
        Self::new(error.io_kind(), error)
    }
}

impl TlsError {
    pub(crate) const fn io_kind(self) -> io::ErrorKind {
        match self {
            Self::CutShort => io::ErrorKind::UnexpectedEof,
            Self::KeyUsedUp => io::ErrorKind::Other,
            Self::Alert(_)
            | Self::KeyUpdate
            | Self::Handshake(_)
            | Self::Record(_)
            | Self::Chatter(_)
            | Self::Protocol => io::ErrorKind::InvalidData,
        }
    }
}

/// An alert by the name that RFC 8446 §6 gives it.
struct AlertName(u8);

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = ALERTS.into_iter().find(|(number, _)| *number == self.0);
        f.write_str(named.map_or("unknown", |(_, name)| name))
    }
}

const ALERTS: [(u8, &str); 24] = [
    (10, "unexpected_message"),
    (20, "bad_record_mac"),
    (22, "record_overflow"),
    (40, "handshake_failure"),
    (42, "bad_certificate"),
    (43, "unsupported_certificate"),
    (44, "certificate_revoked"),
    (45, "certificate_expired"),
    (46, "certificate_unknown"),
    (47, "illegal_parameter"),
    (48, "unknown_ca"),
    (49, "access_denied"),
    (50, "decode_error"),
    (51, "decrypt_error"),
    (70, "protocol_version"),
    (71, "insufficient_security"),
    (80, "internal_error"),
    (86, "inappropriate_fallback"),
    (90, "user_canceled"),
    (100, "no_renegotiation"),
    (109, "missing_extension"),
    (112, "unrecognized_name"),
    (116, "certificate_required"),
    (120, "no_application_protocol"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_shown_by_its_name_and_its_number() {
        let shown = TlsError::Alert(40).to_string();
        assert_eq!(shown, "the peer ended TLS with alert handshake_failure (40)");
        assert!(TlsError::Alert(7).to_string().ends_with("alert unknown (7)"));
        let error = io::Error::from(TlsError::CutShort);
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
