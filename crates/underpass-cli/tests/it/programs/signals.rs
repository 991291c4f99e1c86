//! A command whose processes live as long as it does: not one of them outlives a watch that is
//! interrupted.

use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use underpass_testkit::{require, wait};

use crate::programs::apache::configured;
use crate::programs::site::{Site, address, programs};
use crate::running::{Running, program};

/// All that descend from a process.
fn descendants(process: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let list = list.unwrap_or_default();
    let children = list.split_whitespace().map(|child| child.parse().unwrap());
    children.flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

/// Of these, the ones that are there and have not ended.
fn left(processes: &[u32]) -> Vec<u32> {
    let is_left = |process: &&u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.contains("(apache2)") && !stat.contains(") Z ")
    };
    processes.iter().filter(is_left).copied().collect()
}

#[test]
fn apaches_workers_end_with_an_interrupted_watch() {
    require!(programs(&["apache2"]));
    let (site, address) = (Site::new(), address());
    let mut explain = program();
    explain.args(["explain", "--", "apache2", "-DFOREGROUND", "-f"]);
    explain.arg(configured(&site, address, "event", "")).stdout(Stdio::null());
    let watch = Running::start(&mut explain);
    let patience = Duration::from_secs(10);
    // Its first process listens before there are workers.
    let family = || {
        let family = descendants(watch.id());
        (family.len() > 2 && TcpStream::connect(address).is_ok()).then_some(family)
    };
    let family = wait::until(patience, family).unwrap();
    watch.signal(Signal::INT);
    let (code, _, stderr) = watch.end();
    let left = left(&family);
    for process in &left {
        let process = Pid::from_raw(process.cast_signed()).unwrap();
        kill_process(process, Signal::KILL).unwrap();
    }
    assert!(left.is_empty(), "{left:?} of {family:?} are left: {stderr}");
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(code, Some(0), "{stderr}");
}
