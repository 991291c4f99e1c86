//! What h2 tells clients by itself: it refuses requests that no one here gets to see. So the frames
//! that it writes are looked at, without their content.
//!
//! Source: RFC 9113 §4.1, §6.4, §6.8, §7; h2, `Recv::recv_headers` (its 431).

/// A frame's head, and what is looked at of its payload.
const SEEN_BYTES_MAX: usize = 9 + 8;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;

/// The static table's entry for the name of a status, with its value next to it.
const STATUS: [u8; 2] = [0x48, 0x08];

/// Something that is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// A stream is reset with this code.
    Reset(u32),
    /// The connection ends with this code.
    Ends(u32),
    /// A status, with no field: no answer from here is without.
    StatusAlone,
}

/// Where among the frames the bytes are that come next.
#[derive(Debug, Default)]
pub(super) struct Frames {
    seen: [u8; SEEN_BYTES_MAX],
    len: usize,
    /// Bytes of a payload that are not looked at.
    skipped: usize,
}

impl Frames {
    /// Looks at bytes that follow those before.
    pub(super) fn look(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Told)) {
        while !bytes.is_empty() {
            let skipped = self.skipped.min(bytes.len());
            self.skipped -= skipped;
            bytes = &bytes[skipped..];
            let n = (self.wanted() - self.len).min(bytes.len());
            self.seen[self.len..][..n].copy_from_slice(&bytes[..n]);
            self.len += n;
            bytes = &bytes[n..];
            if self.len == self.wanted() {
                self.told().into_iter().for_each(&mut tell);
                self.skipped = 9 + self.payload_bytes() - self.len;
                self.len = 0;
            }
        }
    }

    /// Bytes that are looked at of the frame that is next.
    fn wanted(&self) -> usize {
        let of_payload = match self.seen[3] {
            _ if self.len < 9 => 0,
            HEADERS => 1,
            RST_STREAM => 4,
            GOAWAY => 8,
            _ => 0,
        };
        9 + of_payload.min(if self.len < 9 { 0 } else { self.payload_bytes() })
    }

    fn payload_bytes(&self) -> usize {
        let [a, b, c, ..] = self.seen;
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
    }

    fn told(&self) -> Option<Told> {
        let code = |at: usize| {
            let code = self.seen[at..self.len].first_chunk()?;
            Some(u32::from_be_bytes(*code))
        };
        match self.seen[3] {
            RST_STREAM => code(9).map(Told::Reset),
            GOAWAY => code(13).map(Told::Ends),
            HEADERS if self.seen[4] & END_STREAM != 0 => {
                let is_alone = match self.payload_bytes() {
                    1 => true,
                    5 => STATUS.contains(&self.seen[9]),
                    _ => false,
                };
                is_alone.then_some(Told::StatusAlone)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u8::try_from(payload.len()).unwrap();
        [&[0, 0, len, kind, flags, 0, 0, 0, 1][..], payload].concat()
    }

    #[test]
    fn resets_and_ends_are_found_among_other_frames_however_they_are_cut() {
        let alone = [0x48, 0x83, 1, 2, 3];
        let all = [
            frame(0, 0, &[3; 100]),
            frame(4, 1, &[]),
            frame(3, 0, &[0, 0, 0, 7]),
            frame(HEADERS, 5, &alone),
            frame(HEADERS, 4, &alone),
            frame(HEADERS, 5, &[0x48; 6]),
            frame(HEADERS, 5, &[0xbe]),
            frame(HEADERS, 5, &[0x88, 0xbe, 0xbf, 0xc0, 0xc1]),
            frame(0, 1, &[]),
            frame(7, 0, &[0, 0, 0, 1, 0, 0, 0, 11, 9, 9]),
            frame(3, 0, &[1, 0, 0, 2]),
        ]
        .concat();
        let expected = [
            Told::Reset(7),
            Told::StatusAlone,
            Told::StatusAlone,
            Told::Ends(11),
            Told::Reset(0x0100_0002),
        ];
        for len in [1, 2, 9, 10, 13, all.len()] {
            let (mut frames, mut told) = (Frames::default(), Vec::new());
            all.chunks(len).for_each(|bytes| frames.look(bytes, |it| told.push(it)));
            assert_eq!(told, expected, "{len}");
        }
    }
}
