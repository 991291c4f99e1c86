//! A list of targets, and networks whose PROXY headers are believed: what is read is written so
//! that it is read again.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use underpass_fuzz::place;
use underpass_relay::fuzzing;
use underpass_relay::{Endpoint, Network};

fuzz_target!(|text: &str| {
    for line in text.lines() {
        if let Ok(network) = line.parse::<Network>() {
            assert_eq!(network.to_string().parse(), Ok(network), "{network}");
        }
    }
    let path = place("list");
    fs::write(&path, text).expect("the list is written");
    let Ok(targets) = fuzzing::targets(path.clone()) else { return };
    assert!(!targets.is_empty() && targets.len() <= text.lines().count());
    for target in &targets {
        let again = target.to_string().parse::<Endpoint>();
        assert_eq!(again.as_ref().ok(), Some(target), "{target}");
    }
    let written: Vec<String> = targets.iter().map(ToString::to_string).collect();
    if written.iter().any(|target| target.contains(['#', '\n']) || target.trim() != target) {
        return;
    }
    fs::write(&path, written.join("\n")).expect("the list is written");
    assert_eq!(fuzzing::targets(path.clone()).expect("it is a list"), targets);
});
