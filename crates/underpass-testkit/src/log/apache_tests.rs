//! The same workload with Apache Kafka as the server: what the checker expects of a log, and what
//! its client takes for an answer, is the protocol's and not only ours.

use std::process::Command;

use super::client::Client;
use super::workload::{Producing, Topic, Workload};
use crate::kafka::{Apache, Broker};
use crate::require;
use crate::skip::Capability;

/// A broker that was killed is known as alive for as long, and is not let in again before.
const PROPERTIES: &str = "broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
";

fn java() -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    java
}

#[test]
fn kafka_that_is_killed_and_started_again_leaves_nothing_to_find() {
    let apache = require!(Apache::fetched());
    require!(Capability::Program("kcat"));
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(&apache, dir.path(), PROPERTIES, java()).unwrap();
    let configs = [("segment.bytes", "1048576")];
    let mut client = Client::connect(broker.address()).unwrap();
    assert_eq!(client.create_topic("t", 3, &configs).unwrap(), 0);
    let topic = Topic { name: "t".to_owned(), partitions: 3, acks: -1 };
    let workload = Workload::start(topic, broker.address(), &Producing::MIXED, 2);
    for _ in 0..2 {
        workload.wait_for(2_000);
        broker.kill().unwrap();
        broker = Broker::start_again(&apache, dir.path(), java()).unwrap();
    }
    workload.wait_for(2_000);
    let history = workload.finish().unwrap();
    history.assert_sound();
    assert!(history.acknowledgements() >= 6_000);
}
