use std::collections::HashSet;
use std::fs;
use std::num::NonZeroUsize;

use super::setting::Setting;
use super::*;
use crate::wire::ErrorCode;

fn open(path: &Path) -> Result<Topics, OpenError> {
    let files = Arc::new(OpenFiles::new(NonZeroUsize::new(100).unwrap()));
    Topics::open(path, TopicConfig::default(), files, Promise::default(), Arc::default())
}

fn names(path: &Path) -> HashSet<String> {
    let entries = fs::read_dir(path).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn retention(value: &str) -> Overrides {
    Overrides::from([(Setting::RetentionMs, value.to_owned())])
}

fn code<T: std::fmt::Debug>(outcome: Result<T, TopicFault>) -> ErrorCode {
    outcome.unwrap_err().code()
}

#[test]
fn a_topic_that_was_made_is_there_after_a_start_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path()).unwrap();
    let made = topics.create("t", 2, retention("5000")).unwrap();
    topics.create("other", 1, Overrides::new()).unwrap();
    assert_eq!(topics.grow("t", 3).unwrap().partitions().len(), 3);
    let set = topics.configure("t", |overrides| {
        overrides.insert(Setting::SegmentBytes, "1000".into());
        Ok::<_, TopicFault>(())
    });
    assert_eq!(set.unwrap().config().segment_bytes, 1000);
    topics.close().unwrap();
    drop(topics);
    let topics = open(dir.path()).unwrap();
    assert_eq!(
        topics.list().iter().map(|topic| topic.name().as_ref()).collect::<Vec<_>>(),
        ["other", "t"]
    );
    let topic = topics.get("t").unwrap();
    assert_eq!(topic.id(), made.id());
    assert_eq!((topic.config().retention_ms, topic.config().segment_bytes), (5000, 1000));
    let indexes: Vec<i32> = topic.partitions().iter().map(|one| one.index()).collect();
    assert_eq!(indexes, [0, 1, 2]);
    assert_eq!(topic.partition(2).unwrap().to_string(), "t-2");
    assert!(topic.partition(3).is_none() && topic.partition(-1).is_none());
    assert_eq!(topics.get_by_id(made.id()).unwrap().name().as_ref(), "t");
}

#[test]
fn what_cannot_be_made_is_refused_with_the_protocols_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path()).unwrap();
    topics.create("a.b", 1, Overrides::new()).unwrap();
    let before = names(dir.path());
    let cases = [
        ("", 1, ErrorCode::InvalidTopicException),
        ("../x", 1, ErrorCode::InvalidTopicException),
        ("a_b", 1, ErrorCode::InvalidTopicException),
        ("a.b", 1, ErrorCode::TopicAlreadyExists),
        ("t", 0, ErrorCode::InvalidPartitions),
        ("t", 10_001, ErrorCode::InvalidPartitions),
    ];
    for (name, partitions, wanted) in cases {
        assert_eq!(code(topics.check_new(name, partitions, &Overrides::new())), wanted, "{name}");
        assert_eq!(code(topics.create(name, partitions, Overrides::new())), wanted, "{name}");
    }
    assert_eq!(code(topics.create("t", 1, retention("soon"))), ErrorCode::InvalidConfig);
    assert_eq!(code(topics.grow("t", 2)), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(topics.grow("a.b", 1)), ErrorCode::InvalidPartitions);
    assert_eq!(code(topics.check_grow("a.b", 10_001)), ErrorCode::InvalidPartitions);
    assert_eq!(code(topics.delete("t")), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(names(dir.path()), before);
}

#[test]
fn partitions_of_all_topics_together_are_limited() {
    let entry = |partitions| Entry { id: Uuid::ZERO, partitions, overrides: Overrides::new() };
    let catalog = |partitions| Catalog {
        topics: [("a".to_owned(), entry(partitions))].into(),
        ..Catalog::default()
    };
    assert!(check_count(&catalog(ALL_PARTITIONS_MAX - 5), 5, 5).is_ok());
    assert_eq!(
        code(check_count(&catalog(ALL_PARTITIONS_MAX - 5), 9, 6)),
        ErrorCode::PolicyViolation
    );
}

#[test]
fn a_creation_that_fails_halfway_leaves_neither_topic_nor_directory() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path()).unwrap();
    // The third partition's directory is there, with a record that may be somebody's.
    fs::create_dir(dir.path().join("t-2")).unwrap();
    fs::write(dir.path().join("t-2/00000000000000000000.log"), "record").unwrap();
    let before = names(dir.path());
    let said = topics.create("t", 4, Overrides::new()).unwrap_err().to_string();
    assert!(said.contains("t-2 is there") && said.ends_with("move it away"), "{said}");
    assert_eq!(names(dir.path()), before);
    assert!(topics.get("t").is_none());
    // The same if it is the file of topics that cannot be written.
    fs::remove_dir_all(dir.path().join("t-2")).unwrap();
    fs::create_dir(dir.path().join("topics.json.new")).unwrap();
    let before = names(dir.path());
    assert_eq!(code(topics.create("t", 4, Overrides::new())), ErrorCode::KafkaStorageError);
    assert_eq!(names(dir.path()), before);
    fs::remove_dir(dir.path().join("topics.json.new")).unwrap();
    assert_eq!(topics.create("t", 4, Overrides::new()).unwrap().partitions().len(), 4);
}

#[test]
fn a_deleted_topic_is_offline_and_its_name_and_its_directories_are_free() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path()).unwrap();
    let first = topics.create("t", 2, Overrides::new()).unwrap();
    topics.delete("t").unwrap();
    assert!(topics.get("t").is_none());
    // As it was before the files went: a crash meanwhile would have left them to the next start.
    let written = Catalog::load(dir.path()).unwrap();
    assert!(written.topics.is_empty() && written.deleting.contains_key(&first.id()));
    for partition in first.partitions() {
        assert_eq!(partition.status(), Status::Deleted);
        assert_eq!(partition.refusal(), Some(ErrorCode::UnknownTopicOrPartition));
    }
    assert!(
        names(dir.path()).iter().all(|name| !name.contains("t-") && !name.ends_with(".delete"))
    );
    let second = topics.create("t", 1, Overrides::new()).unwrap();
    assert_ne!(first.id(), second.id());
    drop(topics);
    let topics = open(dir.path()).unwrap();
    assert_eq!(topics.get("t").unwrap().id(), second.id());
}

#[test]
fn a_deletion_that_was_cut_short_is_finished_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path()).unwrap();
    let topic = topics.create("t", 2, Overrides::new()).unwrap();
    drop(topics);
    // As after a crash once the file of topics is written, and one directory renamed.
    let mut catalog = Catalog::load(dir.path()).unwrap();
    catalog.topics.clear();
    catalog.deleting.insert(topic.id(), Remains { name: "t".into(), partitions: 2 });
    catalog.store(dir.path()).unwrap();
    places::set_aside(dir.path(), "t", topic.id(), 1).unwrap();
    let gone = opening::tidy_up(dir.path(), &catalog).unwrap();
    assert_eq!(gone.len(), 2);
    assert!(!names(dir.path()).contains("t-0"));
    places::remove(&gone);
    assert!(open(dir.path()).unwrap().create("t", 2, Overrides::new()).is_ok());
}

#[test]
fn a_creation_that_was_cut_short_is_taken_back_unless_there_are_records() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    for name in ["begun-0", "kept-0"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("00000000000000000000.log"), "").unwrap();
    }
    fs::write(dir.path().join("kept-0/00000000000000000000.log"), "record").unwrap();
    fs::write(dir.path().join("file-0"), "no directory").unwrap();
    drop(open(dir.path()).unwrap());
    let left = names(dir.path());
    assert!(!left.contains("begun-0") && left.contains("kept-0") && left.contains("file-0"));
}

#[test]
fn a_partition_that_cannot_be_opened_is_offline_and_nothing_is_made_or_taken_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path()).unwrap();
    topics.create("t", 4, Overrides::new()).unwrap();
    topics.close().unwrap();
    drop(topics);
    fs::rename(dir.path().join("t-1"), dir.path().join("elsewhere")).unwrap();
    let not_a_number = dir.path().join("t-2/log-start-offset");
    fs::write(&not_a_number, [0xff]).unwrap();
    for _ in 0..2 {
        let topics = open(dir.path()).unwrap();
        let topic = topics.get("t").unwrap();
        let refusals: Vec<_> = topic.partitions().iter().map(|one| one.refusal()).collect();
        let offline = Some(ErrorCode::KafkaStorageError);
        assert_eq!(refusals, [None, offline, offline, None]);
        topics.retain(i64::MAX);
        topics.close().unwrap();
        assert!(!dir.path().join("t-1").exists() && not_a_number.exists());
        assert!(!names(dir.path()).contains("clean-shutdown"), "they were not closed");
    }
    fs::rename(dir.path().join("elsewhere"), dir.path().join("t-1")).unwrap();
    fs::remove_file(not_a_number).unwrap();
    let topics = open(dir.path()).unwrap();
    let topic = topics.get("t").unwrap();
    assert!(topic.partitions().iter().all(|partition| partition.refusal().is_none()));
}

#[test]
fn a_topic_with_a_partition_that_cannot_be_opened_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().create("t", 3, Overrides::new()).unwrap();
    fs::remove_dir_all(dir.path().join("t-1")).unwrap();
    fs::write(dir.path().join("t-2/log-start-offset"), [0xff]).unwrap();
    let topics = open(dir.path()).unwrap();
    topics.delete("t").unwrap();
    assert!(names(dir.path()).iter().all(|name| !name.starts_with("t-")));
    topics.create("t", 3, Overrides::new()).unwrap();
}

#[test]
fn the_end_is_an_orderly_one_only_if_all_logs_were_closed() {
    let dir = tempfile::tempdir().unwrap();
    let topics = open(dir.path()).unwrap();
    topics.create("t", 1, Overrides::new()).unwrap();
    topics.close().unwrap();
    assert!(names(dir.path()).contains("clean-shutdown"));
    drop(topics);
    let topics = open(dir.path()).unwrap();
    assert!(!names(dir.path()).contains("clean-shutdown"));
    topics.get("t").unwrap().partition(0).unwrap().delete();
    topics.close().unwrap();
    assert!(!names(dir.path()).contains("clean-shutdown"));
}
