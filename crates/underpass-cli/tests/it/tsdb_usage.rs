//! What `--usage` tells of reading through maps and by pread(2).

use underpass_testkit::block::{Block, Chunk, Series};

use crate::command::underpass;

/// The number before a word of the line; `MiB` as bytes.
fn figure(line: &str, before: &str) -> f64 {
    let mut words = line.split(before).next().unwrap().split_whitespace().rev();
    let (unit, number) = (words.next().unwrap(), words.next().unwrap());
    let scale = match unit {
        "MiB" => 1_048_576.0,
        "KiB" => 1_024.0,
        "B" => 1.0,
        _ => return unit.replace(',', "").parse().unwrap(),
    };
    scale * number.parse::<f64>().unwrap()
}

#[test]
fn maps_show_as_file_backed_memory_and_pread_as_calls() {
    let dir = tempfile::tempdir().unwrap();
    let series = (0..40_000_u16).map(|number| {
        let name = format!("{number:05}");
        let floats = [(i64::from(number), 1.0)];
        Series::new(&[("__name__", "m"), ("n", &name)], vec![Chunk::floats(&floats)])
    });
    let written = Block::new(2, series.collect()).write(dir.path()).unwrap();
    let index = written.dir.join("index").metadata().unwrap().len();
    let [map, pread] = ["map", "pread"].map(|how| {
        let path = written.dir.to_str().unwrap();
        let output = underpass(&["tsdb", "analyze", path, "--usage", "--read", how]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        let line = stderr.lines().find(|line| line.contains(&format!("by {how}: "))).unwrap();
        line.to_owned()
    });
    for command in ["dump", "series"] {
        let output = underpass(&["tsdb", command, written.dir.to_str().unwrap(), "--usage"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(&format!("underpass tsdb {command}: by map: ")), "{stderr}");
    }
    let taken = [&map, &pread].map(|line| figure(line, " copied from files"));
    let calls = [&map, &pread].map(|line| figure(line, " read calls of"));
    let mapped = [&map, &pread].map(|line| figure(line, ", peak"));
    assert!(taken[0] > 1e6 && taken[0] == taken[1], "{map}\n{pread}");
    assert!(calls[1] >= calls[0] + 8.0, "{map}\n{pread}");
    // Beyond the program itself, which both have.
    #[expect(clippy::cast_precision_loss, reason = "the file has some megabytes")]
    let index = index as f64;
    assert!(mapped[0] - mapped[1] > index / 2.0, "{index}: {map}\n{pread}");
}
