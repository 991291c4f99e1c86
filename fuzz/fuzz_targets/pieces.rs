//! The list of what a part has, which anyone may have written: read as it is written, and what is
//! missing is asked for, whole and in no more shares than there are connections.
#![no_main]

use libfuzzer_sys::fuzz_target;
use underpass_copy::fuzzing;

fuzz_target!(|text: &str| {
    let most = text.len() as u64 % 65;
    let Some((written, have, total, shares)) = fuzzing::pieces(text, most) else { return };
    let again = fuzzing::pieces(&written, most);
    assert_eq!(again, Some((written.clone(), have.clone(), total, shares.clone())));
    let is_sorted = |ranges: &[(u64, u64)]| ranges.windows(2).all(|two| two[0].1 <= two[1].0);
    assert!(is_sorted(&have) && have.iter().all(|(from, to)| from < to && *to <= total));
    assert!(is_sorted(&shares) && shares.iter().all(|(from, to)| from <= to && *to <= total));
    assert!(!shares.is_empty() && shares.len() as u64 <= most.max(1), "{shares:?}");
    // What is there and what is asked for make up everything.
    let mut all: Vec<_> = have.iter().chain(&shares).copied().collect();
    all.sort_unstable();
    let reached = all.iter().fold(0, |at, (from, to)| if *from <= at { at.max(*to) } else { at });
    assert_eq!(reached, total, "{have:?} {shares:?}");
});
