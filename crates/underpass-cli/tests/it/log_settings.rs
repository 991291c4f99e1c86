//! What tools of operators ask of a running `underpass log`, by requests whose bytes are made by
//! hand: changes that are only tried, settings that are replaced, topics named by their ids.

use std::io;

use underpass_testkit::log::answer::Answer;
use underpass_testkit::log::client::{Body, Client};

use crate::log_server::Log;

/// Requests, with versions whose fields are plain.
const CREATE_TOPICS: (i16, i16) = (19, 4);
const ALTER_CONFIGS: (i16, i16) = (33, 1);
const CREATE_PARTITIONS: (i16, i16) = (37, 1);
const INCREMENTAL_ALTER_CONFIGS: (i16, i16) = (44, 0);

/// Kafka's numbers of errors.
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const UNKNOWN_TOPIC_ID: i16 = 100;

const TIMEOUT_MS: i32 = 30_000;

/// The kind of resource that is a topic.
const TOPIC: i8 = 2;

/// To set a value.
const SET: i8 = 0;

fn create(topic: &str) -> Body {
    Body::default().i32(1).string(topic).i32(1).i16(1).i32(0).i32(0).i32(TIMEOUT_MS)
}

fn grow(topic: &str, partitions: i32) -> Body {
    Body::default().i32(1).string(topic).i32(partitions).i32(-1).i32(TIMEOUT_MS)
}

fn replace(topic: &str, settings: &[(&str, &str)]) -> Body {
    let count = i32::try_from(settings.len()).unwrap();
    let body = Body::default().i32(1).i8(TOPIC).string(topic).i32(count);
    settings.iter().fold(body, |body, (name, value)| body.string(name).string(value))
}

fn change(topic: &str, name: &str, value: &str) -> Body {
    let body = Body::default().i32(1).i8(TOPIC).string(topic).i32(1);
    body.string(name).i8(SET).string(value)
}

/// The error of the only topic that the request, the last field of which says whether it is only
/// tried, was about.
fn error(client: &mut Client, (key, version): (i16, i16), body: &Body, only_tried: bool) -> i16 {
    client.send(key, version, &body.clone().i8(only_tried.into())).unwrap();
    let mut answer = client.receive().unwrap();
    answer.i32().unwrap();
    let is_of_settings = matches!(key, 33 | 44);
    let error = answer.one_of(|topic| {
        if is_of_settings {
            let (error, _message) = (topic.i16()?, topic.string()?);
            assert_eq!(topic.i8()?, TOPIC);
            topic.string()?;
            return Ok(error);
        }
        let (_name, error, _message) = (topic.string()?, topic.i16()?, topic.string()?);
        Ok(error)
    });
    answer.end().unwrap();
    error.unwrap()
}

/// All topics, with their partitions and what is set for them.
fn state(log: &Log) -> String {
    let (code, state, said) = log.says(&["topics", "describe"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    state
}

/// What is set for the topic `t`.
fn set(log: &Log) -> Vec<String> {
    let state = log.says(&["topics", "describe", "t"]).1;
    let lines = state.lines().skip(1).take_while(|line| !line.contains("PARTITION"));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn what_is_only_tried_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(&dir.path().join("data"), &[]);
    let mut client = log.client();
    assert_eq!(client.create_topic("t", 2, &[("retention.ms", "5000")]).unwrap(), 0);
    for (request, body) in [
        (CREATE_TOPICS, create("new")),
        (CREATE_PARTITIONS, grow("t", 3)),
        (INCREMENTAL_ALTER_CONFIGS, change("t", "segment.bytes", "1000")),
        (ALTER_CONFIGS, replace("t", &[("segment.bytes", "2000")])),
    ] {
        let before = state(&log);
        assert_eq!(error(&mut client, request, &body, true), 0, "{request:?}");
        assert_eq!(state(&log), before, "{request:?}");
        assert_eq!(error(&mut client, request, &body, false), 0, "{request:?}");
        assert_ne!(state(&log), before, "{request:?}");
    }
    // What would not be done is refused even so.
    for (request, body, why) in [
        (CREATE_TOPICS, create("t"), TOPIC_ALREADY_EXISTS),
        (CREATE_PARTITIONS, grow("t", 3), INVALID_PARTITIONS),
        (INCREMENTAL_ALTER_CONFIGS, change("t", "segment.bytes", "x"), INVALID_CONFIG),
        (ALTER_CONFIGS, replace("t", &[("segment.bytes", "x")]), INVALID_CONFIG),
    ] {
        assert_eq!(error(&mut client, request, &body, true), why, "{request:?}");
    }
}

#[test]
fn settings_that_replace_others_are_all_that_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(&dir.path().join("data"), &[]);
    let mut client = log.client();
    let settings = [("retention.ms", "5000"), ("segment.bytes", "1000")];
    assert_eq!(client.create_topic("t", 1, &settings).unwrap(), 0);
    let body = change("t", "max.message.bytes", "77");
    assert_eq!(error(&mut client, INCREMENTAL_ALTER_CONFIGS, &body, false), 0);
    let all = ["max.message.bytes=77", "retention.ms=5000", "segment.bytes=1000"];
    assert_eq!(set(&log), all);
    // All of them or none.
    let body = replace("t", &[("segment.bytes", "2000"), ("retention.ms", "x")]);
    assert_eq!(error(&mut client, ALTER_CONFIGS, &body, false), INVALID_CONFIG);
    assert_eq!(set(&log), all);
    let body = replace("t", &[("segment.bytes", "2000")]);
    assert_eq!(error(&mut client, ALTER_CONFIGS, &body, false), 0);
    assert_eq!(set(&log), ["segment.bytes=2000"]);
    assert_eq!(error(&mut client, ALTER_CONFIGS, &replace("t", &[]), false), 0);
    assert_eq!(set(&log), [""; 0]);
}

/// A topic's id, in halves.
type Id = (i64, i64);

/// A string of the versions that have tagged fields: its length and one, then its bytes.
fn compact(body: Body, text: &str) -> Body {
    let body = body.i8(i8::try_from(text.len() + 1).unwrap());
    text.bytes().fold(body, |body, byte| body.i8(byte.cast_signed()))
}

fn read_compact(answer: &mut Answer) -> io::Result<Option<String>> {
    let Some(len) = answer.i8()?.checked_sub(1).filter(|&len| len >= 0) else { return Ok(None) };
    let bytes = (0..len).map(|_| answer.i8().map(i8::cast_unsigned)).collect::<io::Result<_>>()?;
    Ok(Some(String::from_utf8(bytes).unwrap()))
}

/// Creates a topic, by version 7, which tells its id. A zero before and after each part stands for
/// no tagged fields.
fn create_with_id(client: &mut Client, topic: &str) -> Id {
    let body = compact(Body::default().i8(0).i8(2), topic).i32(1).i16(1).i8(1).i8(1).i8(0);
    client.send(19, 7, &body.i32(TIMEOUT_MS).i8(0).i8(0)).unwrap();
    let mut answer = client.receive().unwrap();
    assert_eq!((answer.i8().unwrap(), answer.i32().unwrap(), answer.i8().unwrap()), (0, 0, 2));
    assert_eq!(read_compact(&mut answer).unwrap().as_deref(), Some(topic));
    let id = (answer.i64().unwrap(), answer.i64().unwrap());
    assert_eq!(answer.i16().unwrap(), 0);
    id
}

/// Deletes a topic by its name, its id, or both, by version 6: what is said of its name, its id and
/// the error.
fn delete(client: &mut Client, name: Option<&str>, id: Id) -> (Option<String>, Id, i16) {
    let body = Body::default().i8(0).i8(2);
    let body = name.map_or_else(|| body.clone().i8(0), |name| compact(body.clone(), name));
    client.send(20, 6, &body.i64(id.0).i64(id.1).i8(0).i32(TIMEOUT_MS).i8(0)).unwrap();
    let mut answer = client.receive().unwrap();
    assert_eq!((answer.i8().unwrap(), answer.i32().unwrap(), answer.i8().unwrap()), (0, 0, 2));
    let name = read_compact(&mut answer).unwrap();
    let id = (answer.i64().unwrap(), answer.i64().unwrap());
    let error = answer.i16().unwrap();
    read_compact(&mut answer).unwrap();
    assert_eq!((answer.i8().unwrap(), answer.i8().unwrap()), (0, 0));
    answer.end().unwrap();
    (name, id, error)
}

#[test]
fn a_topic_is_deleted_by_its_id_and_its_successor_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(&dir.path().join("data"), &[]);
    let mut client = log.client();
    let first = create_with_id(&mut client, "t");
    create_with_id(&mut client, "other");
    assert_ne!(first, (0, 0));
    assert_eq!(delete(&mut client, Some("t"), first).2, INVALID_REQUEST);
    assert_eq!(delete(&mut client, None, (0, 0)).2, INVALID_REQUEST);
    assert_eq!(delete(&mut client, None, first), (Some("t".to_owned()), first, 0));
    let names = |log: &Log| -> Vec<String> {
        let list = log.says(&["topics", "list"]).1;
        list.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&log), ["other"]);
    let second = create_with_id(&mut client, "t");
    assert_ne!(second, first);
    assert_eq!(delete(&mut client, None, first), (None, first, UNKNOWN_TOPIC_ID));
    assert_eq!(names(&log), ["other", "t"]);
    assert_eq!(delete(&mut client, None, second), (Some("t".to_owned()), second, 0));
    assert_eq!(names(&log), ["other"]);
}
