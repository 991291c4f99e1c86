//! What is kept next to an object's file, of which a crash or a disk may have left anything: no
//! piece is outside of the object or in another, and what is read is what is written anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use underpass_remote::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    drop(fuzzing::meta(bytes));
    let mut summed = bytes.to_vec();
    summed.extend(crc32c::crc32c(bytes).to_le_bytes());
    let Some(kept) = fuzzing::meta(&summed) else { return };
    let mut before = 0;
    for (start, end) in &kept.pieces {
        assert!(before <= *start && start < end && *end <= kept.len, "{kept:?}");
        before = *end;
    }
    let there: u64 = kept.pieces.iter().map(|(start, end)| end - start).sum();
    assert!(!kept.is_whole || there == kept.len, "{kept:?}");
    // A head may be longer as it would be written than what is read: then it is kept no more.
    let Some(written) = &kept.written else { return };
    assert_eq!(fuzzing::meta(written), Some(kept.clone()));
});
