//! Bits put one after another, the highest of a number first.

/// Bytes that are filled from their highest bit.
#[derive(Debug)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are free.
    free: u32,
}

impl BitWriter {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), free: 0 }
    }

    /// The lowest `count` bits of `value`.
    pub(super) fn bits(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            let some = (value >> (left - taken)) & ((1 << taken) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (some << (self.free - taken)).to_le_bytes()[0];
            }
            left -= taken;
            self.free -= taken;
        }
    }

    /// Go's `PutUvarint`.
    pub(super) fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bits(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.bits(value, 8);
    }

    /// Go's `PutVarint`.
    pub(super) fn varint(&mut self, value: i64) {
        self.uvarint(super::protobuf::zig_zag(value));
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_one_after_another_from_the_highest() {
        let mut bits = BitWriter::new();
        bits.bits(0b1, 1);
        bits.bits(0b0110, 4);
        bits.bits(0xffff_ffff_0000_00f5, 12);
        bits.bits(0, 0);
        bits.uvarint(300);
        bits.varint(-1);
        // 1 0110 000011110101 10101100 00000010 00000001
        assert_eq!(
            bits.into_bytes(),
            [0b1011_0000, 0b0111_1010, 0b1101_0110, 0b0000_0001, 0, 0x80]
        );
        let mut wide = BitWriter::new();
        wide.bits(1, 1);
        wide.bits(u64::MAX, 64);
        assert_eq!(wide.into_bytes(), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80]);
    }
}
