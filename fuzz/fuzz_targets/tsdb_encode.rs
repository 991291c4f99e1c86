//! Samples that are encoded anew for remote read are the same when they are decoded again.
//!
//! Input: the byte of an encoding, and a chunk's data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use underpass_tsdb::chunk::decode;
use underpass_tsdb::remote::fuzzing::encoded;
use underpass_tsdb::sample::{Counts, Reset};
use underpass_tsdb::{Encoding, Samples};

fuzz_target!(|bytes: &[u8]| {
    let Some((encoding, data)) = bytes.split_first() else { return };
    let Ok(encoding) = Encoding::try_from(*encoding) else { return };
    let mut samples = Samples::default();
    // What was read before a fault counts, too.
    let _fault = decode(encoding, data, &mut samples);
    let mut again = Samples::default();
    for (encoding, data) in encoded(&samples) {
        let encoding = Encoding::try_from(encoding).expect("a known one");
        decode(encoding, &data, &mut again).expect("what was just made");
    }
    assert_eq!(floats(&samples), floats(&again));
    assert_eq!(samples.histograms.len(), again.histograms.len());
    for (one, other) in samples.histograms.iter().zip(&again.histograms) {
        assert_eq!(one.time, other.time);
        assert_eq!(histogram(&one.histogram), histogram(&other.histogram));
    }
});

fn floats(samples: &Samples) -> Vec<(i64, u64)> {
    samples.floats.iter().map(|float| (float.time, float.value.to_bits())).collect()
}

/// All of a histogram, floats by their bits.
fn histogram(of: &underpass_tsdb::Histogram) -> (String, Vec<u64>) {
    let layout = &of.layout;
    // Of the first histogram of a chunk readers do not believe that nothing was reset.
    let reset = if of.reset == Reset::NoReset { Reset::Unknown } else { of.reset };
    let (schema, positive, negative) = (layout.schema, &layout.positive, &layout.negative);
    let spans = format!("{reset:?} {schema} {positive:?} {negative:?}");
    let mut bits = vec![of.sum.to_bits(), layout.zero_threshold.to_bits()];
    bits.extend(layout.custom.iter().map(|bound| bound.to_bits()));
    match &of.counts {
        Counts::Integer { count, zero, positive, negative } => {
            bits.extend([*count, *zero]);
            bits.extend(positive.iter().chain(negative).map(|delta| delta.cast_unsigned()));
        }
        Counts::Float { count, zero, positive, negative } => {
            let values = [count, zero].into_iter().chain(positive).chain(negative);
            bits.extend(values.map(|value| value.to_bits()));
        }
    }
    (spans, bits)
}
