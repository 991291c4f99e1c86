//! Chunks of every encoding, and XOR next to a decoder that reads bit by bit.
//!
//! Input: the encoding's byte, then the data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use underpass_fuzz::xor_samples;
use underpass_tsdb::chunk::{decode, sample_count};
use underpass_tsdb::{Encoding, Samples};

fuzz_target!(|bytes: &[u8]| {
    let Some((&encoding, data)) = bytes.split_first() else { return };
    let Ok(encoding) = Encoding::try_from(encoding) else { return };
    let (samples, is_whole) = decoded(encoding, data);
    let count = sample_count(encoding, data).map_or(0, usize::from);
    assert!(samples.len() <= count, "{} of {count}", samples.len());
    assert!(!is_whole || samples.len() == count, "{} of {count}", samples.len());
    // What is cut decodes to what came before the cut.
    let cut = data.iter().map(|byte| usize::from(*byte)).sum::<usize>() % (data.len() + 1);
    let (before, _) = decoded(encoding, &data[..cut]);
    let all = texts(&samples);
    assert!(all.starts_with(&texts(&before)), "cut at {cut}");
    if encoding == Encoding::Xor {
        let floats = samples.floats.iter().map(|float| (float.time, float.value.to_bits()));
        assert_eq!((floats.collect(), is_whole), xor_samples(data));
    }
});

fn decoded(encoding: Encoding, data: &[u8]) -> (Samples, bool) {
    let mut samples = Samples::default();
    let result = decode(encoding, data, &mut samples);
    if let Err(error) = &result {
        assert!(error.at <= data.len(), "{error} of {}", data.len());
    }
    (samples, result.is_ok())
}

/// Floats compare by their bits, so that a NaN is itself.
fn texts(samples: &Samples) -> Vec<String> {
    let floats =
        samples.floats.iter().map(|float| format!("{} {}", float.time, float.value.to_bits()));
    floats.chain(samples.histograms.iter().map(|sample| format!("{sample:?}"))).collect()
}
