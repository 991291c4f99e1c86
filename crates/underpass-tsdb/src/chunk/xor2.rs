//! XOR2 chunks: floats, whose times and values share their first bits.
//!
//! Changes of the distance are in two's complement, other than in XOR. A stale marker has no value:
//! the next one is the difference to the value before the marker.
//!
//! Source: tsdb/chunkenc/xor2.go of Prometheus 3.14, which has it behind the flag `xor2-encoding`.

use super::bits::{Bits, top};
use super::start_time::StartTimes;
use super::value::{Significant, Value};
use super::{within, xor};
use crate::damage::{Fault, Malformed};
use crate::sample::{Float, STALE};

/// Appends the samples of a chunk; those before a fault stay.
pub(super) fn decode(data: &[u8], count: u16, floats: &mut Vec<Float>) -> Result<(), Malformed> {
    let Some(&starts) = data.get(2) else {
        return Err(Malformed { at: 2, fault: Fault::Short { wanted: 1, left: 0 } });
    };
    let starts = StartTimes::from_byte(starts);
    let mut series =
        Series { bits: Bits::new(data, 3), time: 0, distance: 0, value: Value::new(0) };
    xor::reserve(floats, &series.bits, count);
    for read in 0..count {
        let value = match read {
            0 => series.first()?,
            1 => series.second()?,
            _ => series.next()?,
        };
        starts.skip(&mut series.bits, read)?;
        within(&series.bits, read, count)?;
        floats.push(Float { time: series.time, value: f64::from_bits(value) });
    }
    Ok(())
}

/// Where a decoder is. Each step gives the bits of a value.
struct Series<'a> {
    bits: Bits<'a>,
    time: i64,
    distance: i64,
    /// The last that was not a stale marker.
    value: Value,
}

impl Series<'_> {
    fn first(&mut self) -> Result<u64, Malformed> {
        self.time = self.bits.varint()?;
        let first = self.bits.read(64);
        // What follows a marker at the start is the difference to 0.
        self.value = Value::new(if first == STALE { 0 } else { first });
        Ok(first)
    }

    fn second(&mut self) -> Result<u64, Malformed> {
        self.distance = self.bits.uvarint()?.cast_signed();
        self.time = self.time.wrapping_add(self.distance);
        self.any_value()
    }

    /// What the ones before the first zero, five at most, say of distance and value.
    fn next(&mut self) -> Result<u64, Malformed> {
        let word = self.bits.word();
        match word.leading_ones() {
            0 => self.same_distance(1, |series| Ok(series.value.bits)),
            1 => self.same_distance(2, Self::changed_value),
            2 => self.other_distance(3, 13),
            3 => self.other_distance(4, 20),
            4 => self.other_distance(5, 64),
            _ => self.same_distance(5, |_| Ok(STALE)),
        }
    }

    fn same_distance(
        &mut self,
        prefix: u32,
        value: impl FnOnce(&mut Self) -> Result<u64, Malformed>,
    ) -> Result<u64, Malformed> {
        self.bits.skip(prefix);
        self.time = self.time.wrapping_add(self.distance);
        value(self)
    }

    fn other_distance(&mut self, prefix: u32, len: u32) -> Result<u64, Malformed> {
        self.bits.skip(prefix);
        let unused = 64 - len;
        let change = (self.bits.read(len) << unused).cast_signed() >> unused;
        self.distance = self.distance.wrapping_add(change);
        self.time = self.time.wrapping_add(self.distance);
        self.any_value()
    }

    /// `0` the same; `10` a difference as wide as the last; `110` one of another width; `111` a
    /// stale marker.
    fn any_value(&mut self) -> Result<u64, Malformed> {
        match self.bits.word().leading_ones() {
            0 => {
                self.bits.skip(1);
                Ok(self.value.bits)
            }
            1 => Ok(self.difference(2)),
            2 => self.wider_difference(3),
            _ => {
                self.bits.skip(3);
                Ok(STALE)
            }
        }
    }

    /// `0` a difference as wide as the last; `1` one of another width.
    fn changed_value(&mut self) -> Result<u64, Malformed> {
        match top(self.bits.word(), 1) {
            0 => Ok(self.difference(1)),
            _ => self.wider_difference(1),
        }
    }

    fn difference(&mut self, prefix: u32) -> u64 {
        let word = self.bits.word();
        self.value.change(&mut self.bits, word, prefix);
        self.value.bits
    }

    fn wider_difference(&mut self, prefix: u32) -> Result<u64, Malformed> {
        let word = self.bits.word();
        self.value.significant = Significant::from_top(word << prefix, &self.bits)?;
        self.value.change(&mut self.bits, word, prefix + 11);
        Ok(self.value.bits)
    }
}
