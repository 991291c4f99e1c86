use std::ops::ControlFlow;
use std::os::fd::AsFd;

use super::*;
use underpass_testkit::disk::disk_dir;

/// Says to a started test binary that it is the separate process that a test asked for.
const CHILD: &str = "UNDERPASS_CLAIMS_CHILD";

/// Not a test: what [`again`] starts.
#[test]
fn a_process_of_its_own() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    serve(io::stdin().lock(), io::stdout().lock()).unwrap();
}

pub(super) fn again() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // With more than one thread libtest prints a test's name after its output.
    command.args(["--exact", "claims::tests::a_process_of_its_own", "--nocapture"]);
    command.env(CHILD, "1").env("RUST_TEST_THREADS", "2");
    command
}

fn is_a_group_to_be_had(given: &Given<'_>) -> bool {
    group::Group::new(given, Some(64 << 20)).is_ok_and(|group| group.peak_bytes().is_ok())
}

fn groups_left() -> usize {
    let own = format!("underpass-claims-{}-", std::process::id());
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut left = 0;
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
            left += usize::from(entry.file_name().to_string_lossy().starts_with(&own));
            directories.push(entry.path());
        }
    }
    left
}

#[test]
fn every_sentence_gets_its_measurement_and_its_verdict() {
    let _alone = group::tests::ALONE.lock();
    let directory = disk_dir().unwrap();
    // The loops over words take long unless they are optimised, so little is looked at.
    let file = tempfile::NamedTempFile::new_in(&directory).unwrap();
    file.as_file().set_len(256 << 10).unwrap();
    let wanted = Wanted { bytes_max: 256 << 10, repeats: 1, cold: true };
    let on = &mut |_| ControlFlow::Continue(());
    let eyes = eyes::run(file.path(), &wanted, on).unwrap();
    let given =
        Given { directory: &directory, again: Some(&again), report: None, eyes: Some(&eyes) };
    let mut shares = Vec::new();
    let claims = run(&given, &mut |share, _| {
        shares.push(share);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(shares.is_sorted() && shares.iter().all(|share| (0.0..1.0).contains(share)));
    let verdict = |name| &claims.iter().find(|claim| claim.name == name).unwrap().verdict;
    let text = format!("{claims:#?}");
    assert_eq!(claims.len(), SENTENCES.len());
    for claim in &claims {
        let is_told = matches!(claim.verdict, Verdict::Unavailable(_));
        assert!(is_told != claim.lines.iter().any(|line| !line.what.is_empty()), "{claim:?}");
    }
    assert_eq!(verdict("mmap-copy"), &Verdict::Holds, "{text}");
    assert_eq!(verdict("sendfile-switches"), &Verdict::Holds, "{text}");
    assert!(matches!(verdict("sendfile-input"), Verdict::HoldsIf(why) if why.contains("TCP")));
    assert!(matches!(verdict("sendfile-device"), Verdict::Unavailable(_)), "{text}");
    if underpass_sys::cachestat::cached_pages(file.as_file().as_fd(), 0, 1).is_ok() {
        assert_eq!(verdict("mmap-cache"), &Verdict::DoesNotHold, "{text}");
        assert_eq!(verdict("mmap-refault"), &Verdict::Holds, "{text}");
        assert_eq!(verdict("mmap-dirty"), &Verdict::Holds, "{text}");
    }
    assert!(matches!(verdict("mmap-memory"), Verdict::HoldsIf(_)), "{text}");
    if is_a_group_to_be_had(&given) {
        assert_eq!(verdict("mmap-stays"), &Verdict::Holds, "{text}");
    }
    assert_eq!(groups_left(), 0);
}

#[test]
fn an_end_can_be_asked_for_at_any_step() {
    let directory = disk_dir().unwrap();
    let eyes = Eyes { file: "x".into(), bytes: 0, repeats: 1, rows: Vec::new() };
    let given = Given { directory: &directory, again: None, report: None, eyes: Some(&eyes) };
    let mut steps = 0;
    let outcome = run(&given, &mut |_, _| {
        steps += 1;
        if steps == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(outcome, Err(ClaimsError::Interrupted)), "{outcome:?}");
    assert_eq!(steps, 2);
}

#[test]
fn without_a_directory_to_write_to_there_is_no_measuring() {
    let directory = Path::new("/proc");
    let given = Given { directory, again: None, report: None, eyes: None };
    let error = run(&given, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.to_string(), "no file can be made in /proc");
}
