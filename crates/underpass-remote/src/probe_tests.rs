//! The probe against servers whose conditions hold, and against those whose do not.

use underpass_client::Client;
use underpass_testkit::bucket::{BUCKET, Flaw, KEY_ID, Racy, S3sFs, SECRET, Versitygw};
use underpass_testkit::require;
use underpass_testkit::skip::Capability::Long;

use super::*;
use crate::s3::environment::Environment;

fn probe(endpoint: &str) -> Result<Probed, ProbeError> {
    let keys = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let url = format!("s3://{BUCKET}/p?endpoint={endpoint}");
    let client = Client::default().keeping_connections();
    let bucket = Bucket::of(&url, client, &Environment::of(&keys)).unwrap();
    bucket.probe(&Interrupt::never().unwrap())
}

#[test]
fn a_bucket_whose_conditions_do_not_hold_is_refused_by_name_and_round() {
    for (flaw, what) in [
        (Flaw::Races(0), "of 6 writers won round "),
        (Flaw::Races(24), "of 6 writers won round "),
        (Flaw::RacesOnUpdate, " of If-Match: it cannot keep"),
        (Flaw::Ignores, "it carried out a PUT with If-None-Match: * of a key that is there"),
        (Flaw::IgnoresIfMatch, "it carried out a PUT with If-Match of a tag that is no more"),
        (Flaw::CreatesByIfMatch, "it carried out a PUT with If-Match of a key that is not there"),
        (Flaw::KnowsNone, "it answered 501 to a PUT with If-None-Match: * that holds"),
        (Flaw::KeepsTheLast, "it answered 412 to a PUT with If-Match that holds"),
        (Flaw::Forgets, "it carried out a PUT with If-Match of a tag that is no more"),
    ] {
        let racy = Racy::start(flaw).unwrap();
        let error = probe(&racy.endpoint()).unwrap_err().to_string();
        let begin = format!("s3://data/p/ at {} (server: racy): ", &racy.endpoint()[7..]);
        assert!(error.starts_with(&begin) && error.contains(what), "{flaw:?}: {error}");
        assert!(error.ends_with("writers apart; use another"), "{error}");
        // Five one at a time, and three rounds of six, were right.
        let is_early = ["round 1 ", "round 2 ", "round 3 "].iter().any(|it| error.contains(it));
        assert!(flaw != Flaw::Races(24) || !is_early, "{error}");
        assert_eq!(racy.paths(), [""; 0], "{flaw:?}: nothing stays");
    }
}

#[test]
fn a_bucket_whose_conditions_hold_is_raced_once() {
    for flaw in [Flaw::None, Flaw::FailsAfterwards] {
        let racy = Racy::start(flaw).unwrap();
        let first = probe(&racy.endpoint()).unwrap();
        assert_eq!(first, Probed { server: "racy".to_owned(), is_new: true }, "{flaw:?}");
        let writes = racy.writes();
        // One at a time, then eight rounds of six of each kind, and the record.
        let least = 5 + 1 + 2 * 8 * 6 + 1;
        assert!(writes >= least, "{writes}");
        assert_eq!(racy.paths(), ["/data/p/underpass-probe.json"]);
        assert!(!probe(&racy.endpoint()).unwrap().is_new);
        assert_eq!(racy.writes(), writes);
    }
}

#[test]
fn versitygw_keeps_writers_apart() {
    let gateway = require!(Versitygw::ready()).start().unwrap();
    let probed = probe(&gateway.endpoint()).unwrap();
    assert_eq!(probed, Probed { server: "VERSITYGW".to_owned(), is_new: true });
    assert!(!probe(&gateway.endpoint()).unwrap().is_new);
}

#[test]
fn a_real_server_that_races_is_refused() {
    require!(Long);
    let server = require!(S3sFs::ready()).start().unwrap();
    let error = probe(&server.endpoint()).unwrap_err().to_string();
    assert!(error.contains("of 6 writers won round "), "{error}");
}

#[test]
fn what_keeps_it_from_being_found_out_is_no_verdict() {
    let racy = Racy::start(Flaw::Denies).unwrap();
    let error = probe(&racy.endpoint()).unwrap_err().to_string();
    assert!(error.contains("these credentials may not write there: allow them s3:Put"), "{error}");
    let error = probe("http://127.0.0.1:1").unwrap_err();
    assert!(matches!(error, ProbeError::Client(ClientError::Open { .. })), "{error}");
}
