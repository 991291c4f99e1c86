//! Bytes as Prometheus' files have them, and the bits of its chunks.

/// The CRC32C (Castagnoli) of `bytes`, bit by bit: slow, and short enough to be seen to be right.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// What of a file has been written.
#[derive(Debug, Clone, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Big-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Big-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Seven bits a byte, the lowest first.
    pub fn uvarint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.raw(&[value.to_le_bytes()[0]])
    }

    /// Zig-zag.
    pub fn varint(&mut self, value: i64) -> &mut Self {
        self.uvarint(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    /// A length and as many bytes.
    pub fn counted(&mut self, bytes: &[u8]) -> &mut Self {
        self.uvarint(bytes.len() as u64).raw(bytes)
    }

    /// Zeros up to a multiple of `align`.
    pub fn pad(&mut self, align: usize) -> &mut Self {
        self.0.resize(self.0.len().next_multiple_of(align), 0);
        self
    }

    /// The length of `content` in four bytes, `content`, and its checksum.
    pub fn section(&mut self, content: &[u8]) -> &mut Self {
        self.u32(to_u32(content.len())).raw(content).u32(crc32c(content))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `value`, narrower.
///
/// # Panics
///
/// If `value` does not fit: the blocks of tests are small.
#[must_use]
pub fn to_u32(value: usize) -> u32 {
    u32::try_from(value).expect("a block of a test is small")
}

/// Bits, the highest of each byte first.
#[derive(Debug, Default)]
pub struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    /// The lowest `count` bits of `value`.
    pub fn put(&mut self, value: u64, count: u32) -> &mut Self {
        for place in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> place & 1 == 1) << (7 - self.used % 8);
            }
            self.used += 1;
        }
        self
    }

    /// A bit sequence written as text: `"1110"`.
    pub fn text(&mut self, bits: &str) -> &mut Self {
        for bit in bits.bytes() {
            self.put(u64::from(bit == b'1'), 1);
        }
        self
    }

    /// The bytes; the last is filled with zeros.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        // RFC 3720 B.4: 32 zeros, 32 bytes of ones, and 0 to 31; printed lowest byte first there.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn integers_and_bits_are_as_documented() {
        let mut bytes = Bytes::default();
        bytes.uvarint(300).varint(-1).varint(i64::MIN).pad(4);
        assert_eq!(bytes.0, [0xac, 2, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0]);
        let mut bits = Bits::default();
        bits.text("110").put(0b10101, 5).put(1, 2);
        assert_eq!(bits.into_bytes(), [0b1101_0101, 0b0100_0000]);
    }
}
