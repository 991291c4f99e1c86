use std::sync::Mutex;

use super::*;
use crate::compare::tests::program;
use underpass_testkit::require;
use underpass_testkit::skip::{Capability, Missing};

/// Held by those who count groups.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_group_whose_maker_is_gone_is_removed_and_others_are_left() {
    let parent = tempfile::tempdir().unwrap();
    let own = format!("underpass-claims-{}-0", std::process::id());
    // The first number is beyond what pid_max may be.
    for name in ["underpass-claims-9999999-3", &own, "underpass-claims-x-1", "9999999-1"] {
        std::fs::create_dir(parent.path().join(name)).unwrap();
    }
    sweep(parent.path());
    let entries = std::fs::read_dir(parent.path()).unwrap();
    let mut left: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["9999999-1", &own, "underpass-claims-x-1"]);
}

#[test]
fn version_1_groups_are_made_in_ones_own_and_version_2_groups_in_the_root() {
    let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                  cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                  cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                  cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    let memberships = "4:memory:/a/b\n1:cpu:/c\n0::/d\n";
    let two = (PathBuf::from("/sys/fs/cgroup/unified"), Version::Two);
    let own = (PathBuf::from("/sys/fs/cgroup/memory/a/b"), Version::One);
    assert_eq!(parents_of(mounts, memberships, &|_| true), [own, two.clone()]);
    let root = (PathBuf::from("/sys/fs/cgroup/memory"), Version::One);
    assert_eq!(parents_of(mounts, memberships, &|_| false), [root, two]);
    assert_eq!(parents_of("tmpfs /tmp tmpfs rw 0 0\n", memberships, &|_| true), []);
}

#[test]
fn a_group_and_what_runs_in_it_are_gone_when_it_is_dropped() {
    require!(Capability::Root);
    let _alone = ALONE.lock();
    let made = Group::new(&program(), 8 << 20).map_err(|error| Missing::new(error.to_string()));
    let group = require!(made);
    let path = group.path.clone();
    assert!(path.is_dir());
    let mut endless = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    group.add(endless.id()).unwrap();
    drop(group);
    assert!(!path.exists());
    assert_eq!(endless.wait().unwrap().code(), None, "it was killed");
}

#[test]
fn a_group_whose_maker_is_killed_is_removed() {
    require!(Capability::Root);
    let _alone = ALONE.lock();
    let (parent, _) =
        require!(parents().unwrap().pop().ok_or_else(|| Missing::new("no control groups")));
    let path = parent.join(format!("underpass-claims-{}-killed", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    // The keeper's channel ends as it does when the kernel closes a dead maker's descriptors.
    let keeper = Worker::ready(&program(), &Order::Keep(path.clone()), &[]).unwrap();
    assert!(path.exists());
    drop(keeper);
    assert!(!path.exists());
}
