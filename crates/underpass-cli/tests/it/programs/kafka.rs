//! Apache Kafka, which lends whole segments to its consumers.

use std::io::Write;
use std::process::{Command, Stdio};

use underpass_testkit::kafka::{Apache, Broker};
use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::judged::Expected;
use crate::programs::site::{Site, programs};
use crate::programs::truth::Body;
use crate::programs::watched::watched;

/// Some megabytes in messages of a kilobyte.
fn messages() -> String {
    (0..8_000).map(|i| format!("{i:0>1000}\n")).collect()
}

fn kcat(broker: &Broker, arguments: &[&str], input: &str) -> Vec<u8> {
    let mut kcat = Command::new("kcat");
    kcat.args(["-q", "-b", &broker.address().to_string(), "-t", "topic", "-p", "0"]);
    kcat.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut kcat = kcat.spawn().unwrap();
    kcat.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = kcat.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn it_lends_whole_batches() {
    require!(programs(&["java", "kcat"]));
    let apache = require!(Apache::fetched());
    let (site, recorded) = (Site::new(), Recorded::new().unwrap());
    let broker = Broker::start(&apache, &site.path(""), "", recorded.command("java")).unwrap();
    let messages = messages();
    kcat(&broker, &["-P"], &messages);
    let segment = broker.data().join("topic-0/00000000000000000000.log");
    let watched = watched(&recorded, broker.id(), || {
        let got = kcat(&broker, &["-C", "-o", "beginning", "-e"], "");
        assert!(got == messages.as_bytes());
        let file = segment.display().to_string();
        vec![Body { file, bytes: None, is_transformed: false }]
    });
    assert!(watched.truth.by_reference() > 8_000_000);
    Expected::of("Kafka 4.1", "kcat -C")
        .named("java")
        .wrong((
            "what it reads of its code and its metadata meanwhile counts as sent",
            1_744,
            "bytes",
        ))
        .wrong_at_times(("connections one after the other are one", 2, "connections"))
        .judge(&watched);
}
