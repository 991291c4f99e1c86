//! A disk that fails, and then says that it is well.

use std::time::Duration;

use underpass_testkit::injected::Injected;
use underpass_testkit::log::client::Fetch;
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, wait};

use super::broker::{Broker, batch_of, fetch};

const PATIENCE: Duration = Duration::from_secs(10);

/// `KAFKA_STORAGE_ERROR`
const STORAGE: i16 = 56;

#[test]
fn a_sync_that_failed_once_takes_its_partition_offline_and_acknowledges_nothing() {
    require!(Capability::Strace);
    for fault in ["fdatasync,fsync:error=EIO", "fdatasync,fsync:error=EIO:when=1"] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path(), &[]);
        let workload = broker.workload(-1, &[]);
        workload.wait_for(200);
        let injected = Injected::into(broker.id(), fault).unwrap();
        let is_refused = || (workload.refused() > 0).then_some(());
        wait::until(PATIENCE, is_refused).expect("a failure is met");
        drop(injected);
        // The disk is well again, and says so of pages that it never got: fsync(2), NOTES.
        let (mut client, batch) = (broker.client(), batch_of(10));
        let is_offline = |at: &i32| {
            let fetch = Fetch { partition: *at, ..fetch(0, 1) };
            broker.client().fetch(&fetch).unwrap().error == STORAGE
        };
        let offline: Vec<i32> = (0..3).filter(is_offline).collect();
        assert!(!offline.is_empty(), "{fault}: every partition is online");
        let mut produce = |partition, acks| client.produce("t", partition, acks, &batch).unwrap();
        for _ in 0..20 {
            for at in &offline {
                assert_eq!((produce(*at, -1).error, produce(*at, 1).error), (STORAGE, STORAGE));
            }
        }
        let broker = broker.killed_and_started(&workload);
        workload.wait_for(100);
        workload.finish().unwrap().assert_sound();
        broker.stop_and_check();
    }
}

#[test]
fn records_that_are_written_and_not_durable_yet_can_be_deleted() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    broker.create("t", 1, &[]);
    let mut client = broker.client();
    let _slow = Injected::into(broker.id(), "fdatasync:delay_enter=300000").unwrap();
    assert_eq!(client.produce("t", 0, 1, &batch_of(10)).unwrap().base_offset, 0);
    assert_eq!(client.delete_records("t", 0, 1).unwrap(), 1);
}
