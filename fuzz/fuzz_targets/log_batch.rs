//! The header of a record batch, next to the crate kafka-protocol.
//!
//! Input: a byte whose lowest bit asks for a right length and checksum, then the batch.
#![no_main]

use bytes::Bytes;
use kafka_protocol::records::{RecordBatchDecoder, TimestampType};
use libfuzzer_sys::fuzz_target;
use underpass_log::batch::{self, BatchFault, BatchHeader, HEADER_BYTES};

fuzz_target!(|bytes: &[u8]| {
    let Some((flags, batch)) = bytes.split_first() else { return };
    let mut batch = batch.to_vec();
    if flags & 1 == 1 && batch.len() >= HEADER_BYTES {
        mend(&mut batch);
    }
    let checked = batch::check(&batch);
    compare(&batch, checked);
    let Ok(header) = checked else { return };
    assert_eq!(BatchHeader::parse(&batch), Ok(header));
    assert_eq!(header.size(), batch.len());
    assert!(header.last_offset() >= header.base_offset);
    appended(batch, header);
});

fn mend(batch: &mut [u8]) {
    let length = u32::try_from(batch.len() - 12).expect("a short input");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// The other crate knows no codec above 4, and does not look at the offset of the last record.
fn compare(batch: &[u8], checked: Result<BatchHeader, BatchFault>) {
    let theirs = RecordBatchDecoder::decode_batch_info(&mut Bytes::copy_from_slice(batch));
    let theirs = theirs.ok().filter(|headers| headers.len() == 1);
    let Some(theirs) = theirs.as_ref().and_then(|headers| headers.first()) else {
        assert!(!checked.is_ok_and(|header| header.codec() <= 4), "{checked:?}");
        return;
    };
    let ours = match checked {
        Ok(header) => header,
        Err(BatchFault::Count { last_offset_delta, .. }) if last_offset_delta < 0 => return,
        // It leaves what follows, if that is of another version.
        Err(BatchFault::Trailing(_)) => return,
        Err(fault) => panic!("{fault}: {theirs:?}"),
    };
    assert_eq!(ours.base_offset, theirs.min_offset);
    assert_eq!(ours.leader_epoch, theirs.partition_leader_epoch);
    assert_eq!((ours.count, ours.base_timestamp), (theirs.record_count, theirs.min_timestamp));
    let producer = (theirs.producer_id, theirs.producer_epoch, theirs.base_sequence);
    assert_eq!((ours.producer_id, ours.producer_epoch, ours.base_sequence), producer);
    assert_eq!(
        (ours.is_transactional(), ours.is_control()),
        (theirs.transactional, theirs.control)
    );
    assert_eq!(ours.has_append_time(), theirs.timestamp_type == TimestampType::LogAppend);
    assert_eq!(ours.codec(), theirs.compression as i16);
}

/// What a leader assigns leaves the batch whole.
fn appended(mut batch: Vec<u8>, header: BatchHeader) {
    batch::assign(&mut batch, 1 << 40, 7);
    let mut assigned = BatchHeader { base_offset: 1 << 40, leader_epoch: 7, ..header };
    assert_eq!(batch::check(&batch), Ok(assigned));
    let (head, records) = batch.split_first_chunk_mut().expect("a header");
    assigned.set_append_time(1 << 41);
    batch::write_append_time(head, &mut assigned, records);
    assert_eq!(batch::check(&batch), Ok(assigned));
    assert!(assigned.has_append_time() && assigned.max_timestamp == 1 << 41);
}
