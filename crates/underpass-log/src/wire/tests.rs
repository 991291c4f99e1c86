//! Frames written by hand from Kafka's message definitions, and frames that no one should send.

use std::sync::Arc;

use bytes::Bytes;

use super::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use super::delete_topics::{DeletableTopicResult, DeleteTopicsResponse};
use super::fetch::{FetchResponse, FetchablePartitionResponse, FetchableTopicResponse};
use super::header::{HeaderFault, RequestHeader, ResponseHeader, respond};
use super::join_group::JoinGroupResponse;
use super::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use super::offset_fetch::OffsetFetchRequest;
use super::produce::ProduceRequest;
use super::reader::Fault;
use super::{ApiKey, ErrorCode, FileRange, Malformed, Message, Piece, Reader, Records, Writer};
use crate::open_files::OpenFile;

fn decode<M: Message>(bytes: &[u8], version: i16) -> Result<M, Malformed> {
    let frame = Bytes::copy_from_slice(bytes);
    let mut reader = Reader::new(&frame);
    let message = M::decode(&mut reader, version)?;
    assert_eq!(reader.left(), 0, "everything is read");
    Ok(message)
}

pub(crate) fn encode(message: &impl Message, version: i16) -> Bytes {
    let mut writer = Writer::default();
    message.encode(&mut writer, version);
    writer.into_bytes()
}

fn memory(pieces: Vec<Piece>) -> Vec<u8> {
    let bytes = pieces.into_iter().flat_map(|piece| match piece {
        Piece::Memory(bytes) => bytes,
        Piece::File(_) => panic!("memory alone"),
    });
    bytes.collect()
}

#[test]
fn a_classic_metadata_request_is_read_and_written() {
    let bytes = b"\0\0\0\x02\0\x01a\0\x02bc\x01";
    let topics = ["a", "bc"].map(|name| MetadataRequestTopic { name: name.into() });
    let request = MetadataRequest { topics: Some(topics.into()), ..Default::default() };
    assert_eq!(decode(bytes, 4), Ok(request.clone()));
    assert_eq!(encode(&request, 4), bytes[..]);
    // Null is all topics, from version 1 on.
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(decode(b"\xff\xff\xff\xff\0", 4), {
        Ok(MetadataRequest { allow_auto_topic_creation: false, ..all.clone() })
    });
    assert_eq!(encode(&all, 1), b"\xff\xff\xff\xff"[..]);
    assert_eq!(encode(&all, 0), b"\0\0\0\0"[..]);
    let null = Malformed { at: 4, fault: Fault::Null };
    assert_eq!(decode::<MetadataRequest>(b"\xff\xff\xff\xff", 0), Err(null));
}

#[test]
fn a_flexible_request_skips_tags_that_are_not_known() {
    // One topic with a tagged field 5 of two bytes; the request has the tagged field 300, empty.
    let bytes = b"\x02\x02a\x01\x05\x02xy\x01\0\x01\x01\xac\x02\0";
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: "a".into() }]),
        allow_auto_topic_creation: true,
        include_cluster_authorized_operations: false,
        include_topic_authorized_operations: true,
    };
    assert_eq!(decode(bytes, 9), Ok(request.clone()));
    assert_eq!(encode(&request, 9), b"\x02\x02a\0\x01\0\x01\0"[..]);
}

#[test]
fn the_versions_are_answered_with_the_oldest_header_and_without_tags() {
    let header = |version| RequestHeader {
        key: ApiKey::ApiVersions,
        version,
        correlation_id: 7,
        client_id: None,
    };
    let produce = ApiVersion { api_key: 0, min_version: 0, max_version: 9 };
    let response = ApiVersionsResponse { api_keys: vec![produce], ..Default::default() };
    let frame = |version| {
        let mut writer = Writer::frame();
        respond(&mut writer, &header(version), &response);
        memory(writer.into_pieces())
    };
    let flexible = b"\0\0\0\x13\0\0\0\x07\0\0\x02\0\0\0\0\0\x09\0\0\0\0\0\0";
    assert_eq!(frame(3), flexible);
    assert_eq!(frame(0), b"\0\0\0\x10\0\0\0\x07\0\0\0\0\0\x01\0\0\0\0\0\x09");
    let body = Bytes::copy_from_slice(&flexible[4..]);
    let mut reader = Reader::new(&body);
    let read = ResponseHeader::decode(&mut reader, ApiKey::ApiVersions, 3);
    assert_eq!(read, Ok(ResponseHeader { correlation_id: 7 }));
    assert_eq!(ApiVersionsResponse::decode(&mut reader, 3), Ok(response));
}

#[test]
fn headers_have_the_version_that_the_message_asks_for() {
    let header = |version| RequestHeader {
        key: ApiKey::ApiVersions,
        version,
        correlation_id: 1,
        client_id: Some("me".into()),
    };
    let request = ApiVersionsRequest {
        client_software_name: "x".into(),
        client_software_version: "1".into(),
    };
    let flexible = b"\0\0\0\x12\0\x12\0\x03\0\0\0\x01\0\x02me\0\x02x\x021\0";
    assert_eq!(memory(header(3).frame(&request)), flexible);
    assert_eq!(memory(header(2).frame(&request)), b"\0\0\0\x0c\0\x12\0\x02\0\0\0\x01\0\x02me");
    let read = |bytes: &'static [u8]| {
        let bytes = Bytes::from_static(bytes);
        let mut reader = Reader::new(&bytes);
        RequestHeader::decode(&mut reader).map(|header| (header, reader.left()))
    };
    assert_eq!(read(&flexible[4..]), Ok((header(3), 5)));
    // A version that is not read has its header nevertheless, so that it can be answered.
    assert_eq!(read(b"\0\x12\x12\x34\0\0\0\x01\0\x02me\0"), Ok((header(0x1234), 0)));
    assert!(!ApiKey::ApiVersions.reads(0x1234) && ApiKey::ApiVersions.reads(3));
    let unknown = HeaderFault::UnknownKey { key: 4, version: 1 };
    assert_eq!(read(b"\0\x04\0\x01\0\0\0\x01\xff\xff"), Err(unknown));
    let short = Malformed { at: 4, fault: Fault::Short { wanted: 4, left: 1 } };
    assert_eq!(read(b"\0\x12\0\0\0"), Err(HeaderFault::Malformed(short)));
}

#[test]
fn only_produce_is_advertised_from_a_version_that_is_not_read() {
    for key in ApiKey::ALL {
        let versions = if *key == ApiKey::Produce { 0..=9 } else { key.versions() };
        assert_eq!(key.advertised(), versions, "{key:?}");
        assert_eq!(ApiKey::from_number(key.number()), Some(*key));
    }
    assert!(!ApiKey::Produce.reads(2) && ApiKey::Produce.reads(3));
}

#[test]
fn records_are_a_part_of_the_frame_they_came_in() {
    let bytes = b"\xff\xff\xff\xff\0\0\x03\xe8\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x05\0\0\0\x03abc";
    let frame = Bytes::from_static(bytes);
    let request = ProduceRequest::decode(&mut Reader::new(&frame), 3).unwrap();
    assert_eq!((request.acks, request.timeout_ms), (-1, 1000));
    let partition = &request.topic_data[0].partition_data[0];
    let Records::Memory(records) = &partition.records else { panic!("{partition:?}") };
    assert_eq!((partition.index, &records[..]), (5, &b"abc"[..]));
    assert_eq!(records.as_ptr(), frame[frame.len() - 3..].as_ptr());
    assert_eq!(encode(&request, 3), bytes[..]);
}

#[test]
fn ranges_of_files_stand_between_the_bytes_around_them() {
    let file = Arc::new(OpenFile::from(tempfile::tempfile().unwrap()));
    let partition = |range| FetchablePartitionResponse {
        high_watermark: 1,
        records: Records::File(FileRange { file: file.clone(), range }),
        ..Default::default()
    };
    let partitions = [100..1124, 0..0, 7..8].map(partition).into();
    let responses = vec![FetchableTopicResponse { topic: "t".into(), partitions }];
    let response = FetchResponse { responses, ..Default::default() };
    let header =
        RequestHeader { key: ApiKey::Fetch, version: 12, correlation_id: 9, client_id: None };
    let mut writer = Writer::frame();
    respond(&mut writer, &header, &response);
    let pieces = writer.into_pieces();
    let [
        Piece::Memory(before),
        Piece::File(first),
        Piece::Memory(between),
        Piece::File(second),
        Piece::Memory(after),
    ] = &pieces[..]
    else {
        panic!("{pieces:?}")
    };
    // 5 of header, 11 of the response, 3 of the topic; 35 of a partition, 2 of its length, 1024 of
    // the file, 1 of tags; 37 of the second, which is empty; 38 of the third; 2 of the rest.
    let length = 5 + 11 + 3 + 1062 + 37 + 38 + 2_u32;
    let partition = b"\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
        \xff\xff\0\xff\xff\xff\xff";
    let start = b"\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\x02\x02t\x04";
    let expected = [&length.to_be_bytes(), &start[..], partition, b"\x81\x08"].concat();
    assert_eq!(before[..], expected[..]);
    let expected = [b"\0", &partition[..], b"\x01\0", partition, b"\x02"].concat();
    assert_eq!(between[..], expected[..]);
    assert_eq!(after[..], b"\0\0\0"[..]);
    assert_eq!((&first.range, &second.range), (&(100..1124), &(7..8)));
}

#[test]
fn null_is_written_where_the_version_knows_it_and_read_nowhere_else() {
    let join = JoinGroupResponse::default();
    let start = b"\0\0\0\0\0\0\xff\xff\xff\xff";
    assert_eq!(encode(&join, 6), [&start[..], b"\x01\x01\x01\x01\0"].concat());
    assert_eq!(encode(&join, 7), [&start[..], b"\0\0\x01\x01\x01\0"].concat());
    let null = Malformed { at: 11, fault: Fault::Null };
    let body = [&start[..], b"\0\x01\x01\x01\0"].concat();
    assert_eq!(decode::<JoinGroupResponse>(&body, 6), Err(null));
    let responses = vec![DeletableTopicResult::default()];
    let deleted = DeleteTopicsResponse { responses, ..Default::default() };
    assert_eq!(encode(&deleted, 5)[4..], b"\x02\x01\0\0\0\0\0"[..]);
    assert_eq!(encode(&deleted, 6)[4..], [&b"\x02\0"[..], &[0; 16], &[0; 5]].concat());
    let fetch = OffsetFetchRequest::default();
    assert_eq!(encode(&fetch, 1), b"\0\0\0\0\0\0"[..]);
    assert_eq!(encode(&fetch, 2), b"\0\0\xff\xff\xff\xff"[..]);
}

#[test]
fn an_array_of_two_thousand_million_topics_in_twelve_bytes_is_refused() {
    let fault = Fault::Count { count: 0x7fff_ffff, left: 0 };
    let body = b"\xff\xff\0\x01\0\0\x03\xe8\x7f\xff\xff\xff";
    assert_eq!(decode::<ProduceRequest>(body, 3), Err(Malformed { at: 12, fault }));
}

#[test]
fn an_array_that_would_take_far_more_memory_than_its_frame_is_refused() {
    // A partition of a fetch response has 120 bytes or more in memory.
    let mut body = b"\0\0\0\0\0\0\0\0\0\0\x02\x02t\x81\x80\x01".to_vec();
    body.resize(body.len() + 0x4000, 0);
    let refused = decode::<FetchResponse>(&body, 12).unwrap_err();
    assert!(matches!(refused.fault, Fault::Budget { left: 0x3_0000..0x5_0000, .. }), "{refused}");
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let refused = |bytes: &[u8], version| decode::<MetadataRequest>(bytes, version).unwrap_err();
    let at = |at, fault| Malformed { at, fault };
    assert_eq!(refused(b"\xff\xff\xff\xfe", 1), at(4, Fault::Length(-2)));
    assert_eq!(refused(b"\0\0\0\x01\x80\0a", 1), at(6, Fault::Length(-32768)));
    assert_eq!(refused(b"\0\0\0\x01\xff\xffa", 1), at(6, Fault::Null));
    assert_eq!(refused(b"\0\0\0\x01\0\x01\xff", 1), at(6, Fault::Utf8));
    assert_eq!(refused(b"\0\0\0\x01\0\x05abc", 1), at(6, Fault::Short { wanted: 5, left: 3 }));
    assert_eq!(refused(b"\x80\x80\x80\x80\x10", 9), at(5, Fault::Varint));
    assert_eq!(refused(b"\x80\x80\x80\x80\x80\x80", 9), at(5, Fault::Varint));
    assert_eq!(refused(b"\x02\0", 9), at(2, Fault::Null));
    // A string has 32,767 bytes at most, with a compact length too.
    let mut long = b"\x02\x81\x80\x02".to_vec();
    long.resize(40_000, b'a');
    assert_eq!(refused(&long, 9), at(4, Fault::LongString(32_768)));
    // Tags of a size that is not there.
    assert_eq!(refused(b"\0\0\0\0\x01\0\x05x", 9), at(7, Fault::Short { wanted: 5, left: 1 }));
}

#[test]
fn a_message_that_is_too_long_for_a_string_is_cut_between_characters() {
    let text = format!("{}\u{e4}", "a".repeat(32_766));
    let response = MetadataResponse { cluster_id: Some(text), ..Default::default() };
    let read: MetadataResponse = decode(&encode(&response, 2), 2).unwrap();
    assert_eq!(read.cluster_id.unwrap(), "a".repeat(32_766));
    assert_eq!(read.topics.len() + read.brokers.len(), 0);
    assert!(!ErrorCode::None.is_error());
}
