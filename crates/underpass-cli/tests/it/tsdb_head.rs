//! `underpass tsdb head` on a file that Prometheus' own library wrote; what it has is said in
//! `underpass-tsdb/tests/it/head.rs`.

use crate::command::underpass;

fn file() -> Vec<u8> {
    let hex = include_str!("../../../underpass-tsdb/tests/vectors/head.txt").trim();
    let byte = |at| u8::from_str_radix(&hex[2 * at..][..2], 16).unwrap();
    (0..hex.len() / 2).map(byte).collect()
}

#[test]
fn chunks_of_a_head_are_counted_past_their_damage() {
    let dir = tempfile::tempdir().unwrap();
    let head = dir.path().join("chunks_head");
    std::fs::create_dir(&head).unwrap();
    let path = head.join("000001");
    std::fs::write(&path, file()).unwrap();
    let output = underpass(&["tsdb", "head", dir.path().to_str().unwrap()]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let start = format!("{}: 3 chunks (1 out of order) of 3 series, 129 samples", path.display());
    assert!(stdout.starts_with(&start), "{stdout}");

    let mut damaged = file();
    damaged[100] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let output = underpass(&["tsdb", "head", "--json", path.to_str().unwrap()]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stdout.contains(r#""numChunks":2"#) && stdout.contains(r#""numSamples":86"#),
        "{stdout}"
    );
    let line = format!("underpass tsdb head: {}: byte 61: chunk: checksum", path.display());
    assert!(stderr.starts_with(&line), "{stderr}");
}
