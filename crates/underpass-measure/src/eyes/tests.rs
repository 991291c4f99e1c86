use std::os::unix::fs::FileExt;

use super::*;

fn patterned(bytes: usize) -> tempfile::NamedTempFile {
    let dir = underpass_testkit::disk::disk_dir().unwrap();
    let file = tempfile::NamedTempFile::new_in(dir).unwrap();
    let pattern: Vec<u8> = (0..=250).cycle().take(bytes).collect();
    file.as_file().write_all_at(&pattern, 0).unwrap();
    file
}

fn look(file: &tempfile::NamedTempFile, bytes_max: u64, repeats: u32) -> io::Result<Eyes> {
    let wanted = Wanted { bytes_max, repeats, cold: true };
    run(file.path(), "a file", &wanted, &mut |_, _| ())
}

#[test]
fn every_task_is_measured_both_ways_warm_and_cold() {
    let file = patterned(1_000_000);
    let eyes = look(&file, 1 << 30, 2).unwrap();
    assert_eq!((eyes.bytes, eyes.rows.len()), (244 * 4096, 16));
    for held in &eyes.memory {
        let buffer = match held.way {
            Way::Whole => 244 * 4096,
            Way::Read => 65_536,
            Way::Mapping => 0,
        };
        assert!(held.anonymous_bytes >= buffer, "{held:?}");
        assert_eq!(held.cached_bytes.value(), Some(244.0 * 4096.0), "{held:?}");
    }
    for cache in [Cache::Warm, Cache::Cold] {
        let (read, mapped) = eyes.pair(Task::Sum, Order::Sequential, cache).unwrap();
        assert_eq!((read.bytes, mapped.bytes), (244 * 4096, 244 * 4096));
        assert!(mapped.gb_per_s.median.value().is_some_and(|speed| speed > 0.0), "{mapped:?}");
        assert!(mapped.gb_per_s.min.value() <= mapped.gb_per_s.median.value());
        assert!(mapped.gb_per_s.median.value() <= mapped.gb_per_s.max.value());
    }
    let (read, mapped) = eyes.pair(Task::Sum, Order::Sequential, Cache::Warm).unwrap();
    assert_eq!(mapped.major_faults, Figure::Measured(0.0), "all of it was in the page cache");
    assert!(mapped.minor_faults.value() > Some(0.0), "{mapped:?}");
    assert!(mapped.minor_faults.value() <= Some(300.0), "at most one a page: {mapped:?}");
    assert_eq!(read.disk_bytes, Figure::Measured(0.0));
    let (read, mapped) = eyes.pair(Task::Sum, Order::Sequential, Cache::Cold).unwrap();
    assert_eq!(read.major_faults, Figure::Measured(0.0), "read(2) waits without faults");
    assert!(mapped.major_faults.value() >= Some(1.0), "{mapped:?}");
    assert!(read.disk_bytes.value() >= Some(244.0 * 4096.0), "{read:?}");
}

#[test]
fn a_file_in_memory_has_no_cold_figures_and_says_why() {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().write_all_at(&[1; 65_536], 0).unwrap();
    let eyes = look(&file, 65_536, 1).unwrap();
    let (read, _) = eyes.pair(Task::Sum, Order::Sequential, Cache::Warm).unwrap();
    assert!(read.gb_per_s.median.value().is_some());
    let (read, mapped) = eyes.pair(Task::Search, Order::Random, Cache::Cold).unwrap();
    for row in [read, mapped] {
        let Figure::Unavailable(why) = &row.cpu_s_per_gb else { panic!("{row:?}") };
        assert!(why.contains("stay in the page cache"), "{why}");
    }
}

#[test]
fn a_file_of_less_than_a_page_is_refused() {
    let error = look(&patterned(4_095), 1 << 30, 1).unwrap_err().to_string();
    assert!(error.contains("has 4095 bytes: give a file of 4096 at least"), "{error}");
    look(&patterned(4_096), 1 << 30, 1).unwrap();
}
