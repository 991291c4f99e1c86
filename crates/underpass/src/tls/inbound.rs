//! What a record that is not content says: pure, bytes in and a meaning out.
//!
//! Messages are followed over records of any size, since a handshake message may be cut anywhere,
//! and no message is kept: a session ticket is passed over.
//!
//! Source: RFC 8446 §4 (Handshake), §4.6, §6; RFC 5246 §7.2, §7.4.1.1.

use underpass_sys::tls::Version;

use super::error::TlsError;

pub(super) const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

pub(super) const WARNING: u8 = 1;
pub(super) const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

const HELLO_REQUEST: u8 = 0;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// What a peer may say between its content in a connection's life: a ticket has 64 KiB at most.
const SAID_BYTES_MAX: u32 = 1 << 20;

/// What the peer has said between its content.
#[derive(Debug)]
pub(super) struct Inbound {
    version: Version,
    /// close_notify came.
    pub(super) is_ended: bool,
    /// The first byte of an alert.
    level: Option<u8>,
    /// A handshake message's type and length, as far as they came.
    header: Vec<u8>,
    /// Bytes of a handshake message that are passed over.
    skipped: u32,
    /// Bytes of all of it.
    said: u32,
}

impl Inbound {
    pub(super) const fn new(version: Version) -> Self {
        Self { version, is_ended: false, level: None, header: Vec::new(), skipped: 0, said: 0 }
    }

    /// Takes bytes of a record that is not content, as many as came.
    pub(super) fn take(&mut self, kind: u8, bytes: &[u8]) -> Result<(), TlsError> {
        self.said = self.said.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if self.said > SAID_BYTES_MAX {
            return Err(TlsError::Chatter(SAID_BYTES_MAX));
        }
        match kind {
            // Both have content by their definitions (RFC 8446 §5.1).
            ALERT | HANDSHAKE if bytes.is_empty() => Err(TlsError::Record(kind)),
            ALERT => bytes.iter().try_for_each(|&byte| self.alert(byte)),
            HANDSHAKE => self.handshake(bytes),
            _ => Err(TlsError::Record(kind)),
        }
    }

    fn alert(&mut self, byte: u8) -> Result<(), TlsError> {
        let Some(level) = self.level.take() else {
            self.level = Some(byte);
            return Ok(());
        };
        // Of TLS 1.3's alerts the level says nothing (RFC 8446 §6).
        let is_warning = self.version == Version::Tls12 && level == WARNING;
        match byte {
            CLOSE_NOTIFY => self.is_ended = true,
            USER_CANCELED => {}
            _ if is_warning => {}
            _ => return Err(TlsError::Alert(byte)),
        }
        Ok(())
    }

    fn handshake(&mut self, mut bytes: &[u8]) -> Result<(), TlsError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.skipped > 0 {
                let n = bytes.len().min(usize::try_from(self.skipped).unwrap_or(usize::MAX));
                self.skipped -= u32::try_from(n).unwrap_or(self.skipped);
                bytes = &bytes[n..];
                continue;
            }
            self.header.push(byte);
            bytes = rest;
            if let [kind, a, b, c] = self.header[..] {
                self.header.clear();
                self.skipped = u32::from_be_bytes([0, a, b, c]);
                match (kind, self.version) {
                    (NEW_SESSION_TICKET, Version::Tls13) | (HELLO_REQUEST, Version::Tls12) => {}
                    (KEY_UPDATE, Version::Tls13) => return Err(TlsError::KeyUpdate),
                    _ => return Err(TlsError::Handshake(kind)),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn said(version: Version, kind: u8, bytes: &[u8]) -> Result<bool, TlsError> {
        let mut whole = Inbound::new(version);
        let answer = whole.take(kind, bytes).map(|()| whole.is_ended);
        // The same in pieces of one byte.
        let mut piecemeal = Inbound::new(version);
        let mut pieces = bytes.chunks(1).map(|piece| piecemeal.take(kind, piece));
        let first_error = pieces.find_map(Result::err);
        assert_eq!(answer.err().or(first_error), answer.err().and(first_error), "{bytes:?}");
        answer
    }

    #[test]
    fn alerts_end_the_stream_or_break_it_or_are_warnings() {
        use Version::{Tls12, Tls13};
        for (version, alert, meaning) in [
            (Tls13, [1, 0], Ok(true)),
            (Tls13, [2, 0], Ok(true)),
            (Tls12, [1, 0], Ok(true)),
            (Tls13, [1, 90], Ok(false)),
            (Tls13, [2, 20], Err(TlsError::Alert(20))),
            (Tls13, [1, 112], Err(TlsError::Alert(112))),
            (Tls12, [1, 112], Ok(false)),
            (Tls12, [2, 40], Err(TlsError::Alert(40))),
        ] {
            assert_eq!(said(version, ALERT, &alert), meaning, "{version:?} {alert:?}");
        }
        assert_eq!(said(Tls13, ALERT, &[1, 90, 1, 0]), Ok(true));
    }

    #[test]
    fn tickets_are_passed_over_and_new_keys_are_refused_by_name() {
        use Version::{Tls12, Tls13};
        let tickets = [&[4, 0, 0, 3, 24, 24, 24][..], &[4, 0, 0, 0], &[4, 0, 0, 1, 9]].concat();
        assert_eq!(said(Tls13, HANDSHAKE, &tickets), Ok(false));
        let updates = [&tickets[..], &[24, 0, 0, 1, 0]].concat();
        assert_eq!(said(Tls13, HANDSHAKE, &updates), Err(TlsError::KeyUpdate));
        assert_eq!(said(Tls12, HANDSHAKE, &[0, 0, 0, 0]), Ok(false));
        assert_eq!(said(Tls12, HANDSHAKE, &tickets), Err(TlsError::Handshake(4)));
        assert_eq!(said(Tls12, HANDSHAKE, &[24, 0, 0, 1]), Err(TlsError::Handshake(24)));
        assert_eq!(said(Tls13, HANDSHAKE, &[0, 0, 0, 0]), Err(TlsError::Handshake(0)));
        assert_eq!(said(Tls13, 20, &[1]), Err(TlsError::Record(20)));
        for kind in [ALERT, HANDSHAKE] {
            assert_eq!(Inbound::new(Tls13).take(kind, &[]), Err(TlsError::Record(kind)));
        }
    }

    #[test]
    fn a_peer_that_never_comes_to_content_is_given_up() {
        let mut inbound = Inbound::new(Version::Tls13);
        let tickets = [4, 0, 0, 0].repeat(1 << 8);
        for _ in 0..1 << 10 {
            assert_eq!(inbound.take(HANDSHAKE, &tickets), Ok(()));
        }
        assert_eq!(inbound.take(HANDSHAKE, &[4]), Err(TlsError::Chatter(1 << 20)));
        // A ticket that claims to have 16 MiB.
        let mut inbound = Inbound::new(Version::Tls13);
        assert_eq!(inbound.take(HANDSHAKE, &[4, 255, 255, 255]), Ok(()));
        let block = [0; 1 << 14];
        assert!((0..64).any(|_| inbound.take(HANDSHAKE, &block).is_err()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_a_header(
            records in vec((19..24_u8, vec(any::<u8>(), 0..40)), 0..40),
            is_old in any::<bool>(),
        ) {
            let version = if is_old { Version::Tls12 } else { Version::Tls13 };
            let mut inbound = Inbound::new(version);
            for (kind, bytes) in records {
                let is_over = inbound.take(kind, &bytes).is_err();
                prop_assert!(inbound.header.len() < 4);
                if is_over {
                    break;
                }
            }
        }
    }
}
