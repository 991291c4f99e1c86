//! Packets that are lost: what is sent again is read from the file again.

use std::process::{Command, Stdio};

use underpass_testkit::log::batch;
use underpass_testkit::log::client::Client;
use underpass_testkit::log::workload::{Producing, Topic, Workload};
use underpass_testkit::network::Link;
use underpass_testkit::{require, test_name};

use super::broker::{Broker, fetch};

/// Where the server is, for the half of the test that runs in the other namespace.
const ADDRESS: &str = "UNDERPASS_LOG_ADDRESS";

#[test]
fn batches_arrive_whole_over_a_link_that_loses_packets_while_more_is_appended() {
    if let Some(address) = std::env::var_os(ADDRESS) {
        produce_and_consume(address.to_str().unwrap());
        return;
    }
    let link = require!(Link::veth_with_loss());
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("{}:0", link.near().address());
    let broker = Broker::start_as(dir.path(), &["--listen", &listen], |program| {
        let mut command = link.near().command(program.get_program());
        command.stdout(Stdio::piped());
        command
    });
    let mut inside: Command = link.far().command(std::env::current_exe().unwrap());
    inside.args(["--exact", test_name!(), "--nocapture"]).env(ADDRESS, broker.address.to_string());
    let output = inside.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    broker.stop_and_check();
}

fn produce_and_consume(address: &str) {
    let address = address.parse().unwrap();
    let mut client = Client::connect(address).unwrap();
    assert_eq!(client.create_topic("t", 1, &[]).unwrap(), 0);
    let topic = Topic { name: "t".to_owned(), partitions: 1, acks: 1 };
    let workload = Workload::start(topic, address, &Producing::MIXED, 1);
    workload.wait_for(1_000);
    let mut at = 0;
    for _ in 0..30 {
        let fetched = client.fetch(&fetch(at, 1 << 20)).unwrap();
        let records = batch::read(&fetched.records).unwrap();
        at = if records.len() < 1_000 { 0 } else { at + 500 };
    }
    workload.finish().unwrap().assert_sound();
}
