//! A second decoder of XOR chunks, which reads one bit after another.
//!
//! Written from the description in Prometheus' tsdb/docs/format/chunks.md, and slow.

/// The times and the bits of the values, and whether the chunk is whole.
#[must_use]
pub fn xor_samples(data: &[u8]) -> (Vec<(i64, u64)>, bool) {
    let mut samples = Vec::new();
    let count = data.get(..2).map(|count| u16::from_be_bytes([count[0], count[1]]));
    let mut bits = Bits { data, at: 16 };
    let whole = count.and_then(|count| read(count, &mut bits, &mut samples)).is_some();
    (samples, whole)
}

fn read(count: u16, bits: &mut Bits<'_>, samples: &mut Vec<(i64, u64)>) -> Option<()> {
    let (mut time, mut distance, mut value) = (0_i64, 0_i64, 0);
    let mut window = (0, 64);
    for index in 0..count {
        match index {
            0 => {
                let zigzag = bits.uvarint()?;
                time = if zigzag % 2 == 0 { zigzag / 2 } else { !(zigzag / 2) } as i64;
                value = bits.number(64)?;
            }
            1 => distance = bits.uvarint()? as i64,
            _ => distance = distance.wrapping_add(bits.change_of_distance()?),
        }
        if index > 0 {
            time = time.wrapping_add(distance);
            value ^= bits.difference(&mut window)?;
        }
        samples.push((time, value));
    }
    Some(())
}

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<bool> {
        let byte = self.data.get(self.at / 8)?;
        let mask = 0x80 >> (self.at % 8);
        self.at += 1;
        Some(byte & mask != 0)
    }

    fn number(&mut self, count: u32) -> Option<u64> {
        (0..count).try_fold(0, |number, _| Some(2 * number + u64::from(self.bit()?)))
    }

    fn uvarint(&mut self) -> Option<u64> {
        let mut number = 0_u128;
        for place in 0..10 {
            let byte = self.number(8)?;
            number += u128::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return u64::try_from(number).ok();
            }
        }
        None
    }

    fn change_of_distance(&mut self) -> Option<i64> {
        for count in [0, 14, 17, 20] {
            if !self.bit()? {
                let number = self.number(count)? as i64;
                let is_negative = count > 0 && number > 1 << (count - 1);
                return Some(if is_negative { number - (1 << count) } else { number });
            }
        }
        Some(self.number(64)? as i64)
    }

    /// `window`: zeros at the end, and bits before them.
    fn difference(&mut self, window: &mut (u32, u32)) -> Option<u64> {
        if !self.bit()? {
            return Some(0);
        }
        if self.bit()? {
            let leading = self.number(5)? as u32;
            let significant = match self.number(6)? as u32 {
                0 => 64,
                count => count,
            };
            *window = (64_u32.checked_sub(leading + significant)?, significant);
        }
        Some(self.number(window.1)? << window.0)
    }
}
