//! Look-ups in an index: pairs by bisection, symbols by number, series by list and by walk.

use std::collections::BTreeMap;

use underpass_testkit::block::bytes::Bytes;
use underpass_testkit::block::{self, Chunk, Series};
use underpass_tsdb::{Backend, Block, Fault, Labels, SeriesEntry, SeriesId, Window};

/// Values of all lengths, of which some hold entries of the table with this offset.
fn values(decoy: u64) -> Vec<Vec<u8>> {
    let mut entries = Bytes::default();
    for place in 0..9 {
        let value = [b'!', b'0' + place];
        entries.raw(&[2]).counted(b"value").counted(&value).uvarint(decoy);
    }
    let mut values: Vec<_> = (0..3000).map(|n| format!("value-{n:05}").into_bytes()).collect();
    values.extend((1..400).map(|n| [b"w", n.to_string().as_bytes(), &entries.0].concat()));
    values.extend((0..200).map(|n| b"x".repeat(n * 7 + 1)));
    values.push(b"y".repeat(20_000));
    values.push(b"z".repeat(100_000));
    values
}

fn many(version: u8, decoy: u64) -> (tempfile::TempDir, Block) {
    let series = values(decoy)
        .into_iter()
        .map(|value| {
            let chunk = Chunk::floats(&[(block::START, 1.0)]);
            let mut series = Series::new(&[("__name__", "many"), ("tail", "same")], vec![chunk]);
            series.labels.push((b"value".to_vec(), value));
            series
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let written = block::Block::new(version, series).write(dir.path()).unwrap();
    let block = Block::open(&written.dir, Backend::Map).unwrap();
    assert_eq!(block.damages(), []);
    (dir, block)
}

/// An offset at which a postings list could be.
fn decoy(version: u8) -> u64 {
    let (_dir, block) = many(version, 1 << 18);
    let toc = block.index().toc();
    (toc.postings + toc.postings_table) / 2 / 4 * 4
}

/// The labels of each series by walking over all of them.
fn walked(block: &Block) -> BTreeMap<SeriesId, Labels> {
    let (mut walk, mut window, mut symbols) =
        (block.index().walk(), Window::ahead(4096), Window::exact());
    let (mut entry, mut all) = (SeriesEntry::default(), BTreeMap::new());
    while let Some(id) = walk.next(block.index(), &mut window, &mut entry) {
        let mut labels = Labels::default();
        block.index().labels(&entry, &mut symbols, &mut labels).unwrap();
        all.insert(id.unwrap(), labels);
    }
    all
}

#[test]
fn every_pair_is_found_and_no_other_in_each_version() {
    for version in 1..=3 {
        let (_dir, block) = many(version, decoy(version));
        let index = block.index();
        let series = walked(&block);
        assert_eq!(series.len(), values(4).len(), "version {version}");
        let mut window = Window::exact();
        // Each look-up in version 1 scans the table.
        let step = if version == 1 { 97 } else { 11 };
        for (id, labels) in series.iter().step_by(step) {
            let value = labels.get(b"value").unwrap();
            let list = index.postings(b"value", value, &mut window).unwrap().unwrap();
            let mut ids = list.iter(index.file());
            assert_eq!(ids.next_id().unwrap(), Some(*id), "version {version}");
            assert_eq!(ids.next_id().unwrap(), None);
            let mut other = value.to_vec();
            other.push(b'!');
            assert_eq!(index.postings(b"value", &other, &mut window).unwrap(), None);
        }
        for (name, value) in [("value", ""), ("zzz", "a"), ("", "a"), ("tail", "samf")] {
            let found = index.postings(name.as_bytes(), value.as_bytes(), &mut window);
            assert_eq!(found.unwrap(), None, "version {version}, {name} {value}");
        }
    }
}

#[test]
fn a_list_is_read_from_any_series_on() {
    let (_dir, block) = many(2, 4);
    let index = block.index();
    let ids: Vec<SeriesId> = walked(&block).into_keys().collect();
    let list = index.postings(b"tail", b"same", &mut Window::exact()).unwrap().unwrap();
    assert_eq!(list.count() as usize, ids.len());
    for from in [0, 1, 2, 3, 500, 2_999, ids.len() - 1] {
        for least in [ids[from].0, ids[from].0.saturating_sub(1)] {
            let mut postings = list.iter(index.file());
            let expected = ids.iter().find(|id| id.0 >= least).copied();
            assert_eq!(postings.seek(SeriesId(least)).unwrap(), expected, "{from}");
            let next = ids.iter().find(|id| Some(**id) > expected).copied();
            assert_eq!(postings.next_id().unwrap(), next, "{from}");
        }
    }
    let mut postings = list.iter(index.file());
    let past = SeriesId(ids[ids.len() - 1].0 + 1);
    assert_eq!(postings.seek(past).unwrap(), None);
    assert_eq!(postings.seek(ids[0]).unwrap(), None, "it never goes back");
}

#[test]
fn symbols_are_the_same_by_number_and_loaded() {
    let (_dir, block) = many(2, 4);
    let (index, mut window) = (block.index(), Window::exact());
    let get = |number, window: &mut Window| {
        index.symbols().get(index.file(), number, window, <[u8]>::to_vec)
    };
    let count = index.symbols().count();
    let backwards: Vec<_> = (0..=count).rev().map(|number| get(number, &mut window)).collect();
    assert!(backwards[0].is_err(), "there is none behind the last");
    index.symbols().load(index.file(), u64::MAX).unwrap();
    let loaded: Vec<_> = (0..=count).rev().map(|number| get(number, &mut window)).collect();
    assert_eq!(backwards, loaded);
    assert!(loaded[1..].is_sorted_by(|one, other| one.as_ref().ok() > other.as_ref().ok()));
}

#[test]
fn a_table_that_is_not_sorted_is_not_searched() {
    let dir = tempfile::tempdir().unwrap();
    let written = block::Block::small(1).write(dir.path()).unwrap();
    let mut index = written.file("index").bytes.0.clone();
    for (version, is_searched) in [(1, true), (3, false)] {
        index[4] = version;
        written.put("index", &index).unwrap();
        let block = Block::open(&written.dir, Backend::Map).unwrap();
        let list = block.index().postings(b"job", b"node", &mut Window::exact());
        match list {
            Ok(list) => assert!(is_searched && list.unwrap().count() == 3),
            Err(damage) => {
                assert!(!is_searched, "{damage}");
                assert_eq!(damage.fault, Fault::Order("entries"));
            }
        }
    }
}

#[test]
fn what_a_damaged_entry_of_a_large_table_hides_is_not_told_as_absent() {
    let value = |n: usize| format!("{n:05}-{}", "v".repeat(120));
    let series = (0..12_000)
        .map(|n| Series::new(&[("value", &value(n))], vec![Chunk::floats(&[(block::START, 1.0)])]))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let written = block::Block::new(2, series).write(dir.path()).unwrap();
    let mut bytes = written.file("index").bytes.0.clone();
    let sought = value(7_000);
    // The symbols have it first, the table last.
    let at = bytes.windows(sought.len()).rposition(|part| part == sought.as_bytes()).unwrap();
    bytes[at + 100] ^= 1;
    written.put("index", &bytes).unwrap();
    let block = Block::open(&written.dir, Backend::Map).unwrap();
    assert!(block.index().table().bytes() > 1 << 20);
    let find =
        |value: &str| block.index().postings(b"value", value.as_bytes(), &mut Window::exact());
    assert!(find(&value(6_999)).unwrap().is_some(), "those that are found are believed");
    let damage = find(&sought).unwrap_err();
    assert!(damage.to_string().contains("postings offset table: checksum"), "{damage}");
}
