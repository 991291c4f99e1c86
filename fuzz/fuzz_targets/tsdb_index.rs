//! An index: header, TOC, symbols, series, postings offset table; through a map and by pread(2).
//!
//! Input: a byte whose lowest bit asks for right checksums, then the file.
#![no_main]

use std::fmt::Write;
use std::fs;

use libfuzzer_sys::fuzz_target;
use underpass_fuzz::{mend_index, place};
use underpass_tsdb::{Backend, Index, Labels, SeriesEntry, Window};

fuzz_target!(|bytes: &[u8]| {
    let Some((flags, file)) = bytes.split_first() else { return };
    let mut file = file.to_vec();
    if flags & 1 == 1 {
        mend_index(&mut file);
    }
    let path = place("index");
    fs::write(&path, &file).expect("a file in memory");
    let read = |backend| everything(&Index::open(&path, backend).expect("a file"));
    let (mapped, read) = (read(Backend::Map), read(Backend::Pread));
    assert_eq!(mapped, read);
});

/// What can be read, and what is damaged, as text.
fn everything(index: &Index) -> String {
    let mut text = format!("{} {:?} {:?}\n", index.version(), index.toc(), index.damages());
    let most = index.file().len();
    let mut singly = String::new();
    let are_known = series(index, &mut singly);
    let is_sound = index.symbols().load(index.file(), u64::MAX).is_ok();
    // Whether symbols are loaded or looked up makes no difference where there are all of them.
    if series(index, &mut text) && are_known && is_sound {
        assert!(text.ends_with(&singly), "{singly}\n{text}");
    }
    let mut entries = index.table().entries();
    let mut keys = Vec::new();
    while let Ok(Some(entry)) = entries.peek(index.file()) {
        keys.push((entry.name.to_vec(), entry.value.to_vec(), entry.offset));
        entries.advance();
        assert!(keys.len() as u64 <= most, "more entries than bytes");
    }
    let is_sorted = keys.windows(2).all(|two| (&two[0].0, &two[0].1) < (&two[1].0, &two[1].1));
    for (name, value, offset) in keys.iter().take(100) {
        let found = index.table().find(index.file(), name, value);
        if is_sorted || index.version() == 1 && keys.len() < 2 {
            assert_eq!(found, Ok(Some(*offset)), "{name:?} {value:?}");
        }
        list(index, name, value, &mut text);
    }
    text
}

/// Whether every symbol of every series is there.
fn series(index: &Index, text: &mut String) -> bool {
    let mut are_known = true;
    let (mut window, mut entry) = (Window::ahead(4096), SeriesEntry::default());
    let (mut labels, mut walk) = (Labels::default(), index.walk());
    while let Some(found) = walk.next(index, &mut window, &mut entry) {
        if found.is_ok() {
            let symbols = index.labels(&entry, &mut Window::exact(), &mut labels);
            are_known &= symbols.is_ok();
            writeln!(text, "{labels} {symbols:?}").expect("a string");
        }
        writeln!(text, "{found:?} {entry:?}").expect("a string");
        assert!(walk.at() <= index.file().len() + 16, "behind the end");
    }
    are_known
}

fn list(index: &Index, name: &[u8], value: &[u8], text: &mut String) {
    let list = index.postings(name, value, &mut Window::exact());
    writeln!(text, "{list:?}").expect("a string");
    let Ok(Some(list)) = list else { return };
    let (mut ids, mut count) = (list.iter(index.file()), 0);
    while let Ok(Some(_)) = ids.next_id() {
        count += 1;
    }
    assert_eq!(count, list.count());
}
