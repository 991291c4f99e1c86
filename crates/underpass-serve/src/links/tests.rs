use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags};
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{self, Strace};
use underpass_testkit::{require, test_name};

use super::*;
use crate::root::{Found, Root, Wait};

/// `served` with `a.txt` and `sub/deep/b.txt`, and `alias`, a link to it, next to a `secret`.
fn tree() -> (tempfile::TempDir, PathBuf) {
    let tree = tempfile::tempdir().unwrap();
    let served = tree.path().join("served");
    fs::create_dir_all(served.join("sub/deep")).unwrap();
    fs::create_dir(tree.path().join("secret")).unwrap();
    for (file, text) in [
        ("served/a.txt", "a"),
        ("served/sub/deep/b.txt", "b"),
        ("secret/b.txt", "secret"),
        ("served-not", "secret"),
    ] {
        fs::write(tree.path().join(file), text).unwrap();
    }
    symlink("served", tree.path().join("alias")).unwrap();
    (tree, served)
}

/// What a client would get: the content of a file, `/` of a directory, or nothing.
fn got(root: &Root, path: &str) -> Option<String> {
    match root.open_beneath(path.as_bytes(), Wait::Allowed) {
        Ok(Found::Directory(_)) => Some("/".into()),
        Ok(Found::File(mut file, _)) => {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            Some(text)
        }
        Err(error) => {
            assert_eq!(error, OpenError::Absent, "{path}");
            None
        }
    }
}

#[test]
fn each_policy_follows_its_links() {
    let (tree, served) = tree();
    let at = |path: &str| tree.path().join(path).into_os_string().into_string().unwrap();
    let links = [
        ("relative", "sub/deep/b.txt".into(), [true, false, true]),
        ("absolute", at("served/a.txt"), [true, false, true]),
        ("odd", format!("/.{}", at("served//./sub/../a.txt")), [true, false, true]),
        ("directory", at("served/sub"), [true, false, true]),
        ("itself", at("served"), [true, false, true]),
        ("around", "../served/a.txt".into(), [true, false, true]),
        ("far", format!("{}{}", "../".repeat(40), &at("served/a.txt")[1..]), [true, false, true]),
        ("chain", at("served/absolute"), [true, false, true]),
        ("slashed", at("served/sub/"), [true, false, true]),
        ("file-slashed", at("served/a.txt/"), [false, false, false]),
        ("through-file", at("served/a.txt/../a.txt"), [false, false, false]),
        ("nowhere", at("served/none"), [false, false, false]),
        ("loop", at("served/loop"), [false, false, false]),
        ("out", at("secret/b.txt"), [false, false, true]),
        ("out-relative", "../secret/b.txt".into(), [false, false, true]),
        ("parent", at(""), [false, false, true]),
        ("namesake", at("served-not"), [false, false, true]),
        ("out-and-in", at("secret/../served/a.txt"), [false, false, true]),
        ("alias", at("alias/a.txt"), [false, false, true]),
        ("magic", "/proc/self/root".into(), [false, false, false]),
    ];
    for (name, target, _) in &links {
        symlink(target, served.join(name)).unwrap();
    }
    for (column, &policy) in Symlinks::ALL.iter().enumerate() {
        let root = Root::open(&served).unwrap().following(policy);
        for (name, target, is_followed) in &links {
            let got = got(&root, name);
            assert_eq!(got.is_some(), is_followed[column], "{policy}: {name} -> {target}");
        }
        assert_eq!(got(&root, "a.txt").as_deref(), Some("a"), "{policy}");
    }
    let root = Root::open(&served).unwrap();
    assert_eq!(got(&root, "directory/deep/b.txt").as_deref(), Some("b"));
    assert_eq!(got(&root, "directory/deep/"), Some("/".into()));
    assert_eq!(got(&root, "itself/itself/directory/deep/b.txt").as_deref(), Some("b"));
    assert_eq!(got(&root, "absolute/"), None, "not a directory");
    assert_eq!(got(&root, "parent/served/a.txt").as_deref(), Some("a"), "out, and back");
    assert_eq!(got(&root, "parent/secret/b.txt"), None);
}

#[test]
fn links_may_name_the_root_as_it_was_given() {
    let (tree, served) = tree();
    let alias = tree.path().join("alias");
    symlink(alias.join("a.txt"), served.join("by-alias")).unwrap();
    symlink(served.join("a.txt"), served.join("by-path")).unwrap();
    let root = Root::open(&alias).unwrap();
    assert_eq!(got(&root, "by-alias").as_deref(), Some("a"));
    assert_eq!(got(&root, "by-path").as_deref(), Some("a"));
    // Held open, it is where it was renamed to.
    fs::rename(&served, tree.path().join("renamed")).unwrap();
    symlink(tree.path().join("renamed/a.txt"), tree.path().join("renamed/by-new")).unwrap();
    assert_eq!(got(&root, "by-new").as_deref(), Some("a"));
}

#[test]
fn in_the_root_of_all_every_link_is_inside() {
    let (tree, served) = tree();
    symlink(tree.path().join("secret/b.txt"), served.join("out")).unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let path = served.join("out");
    assert_eq!(got(&root, &path.to_str().unwrap()[1..]).as_deref(), Some("secret"));
}

#[test]
fn a_link_that_grows_without_end_is_given_up() {
    let (_tree, served) = tree();
    symlink(format!("{}/self/x", served.display()), served.join("self")).unwrap();
    let wide = format!("{}{}", served.display(), "/.".repeat(1_900));
    symlink(wide, served.join("wide")).unwrap();
    let root = Root::open(&served).unwrap();
    for path in ["self", "wide"] {
        assert_eq!(got(&root, path), None, "{path}");
    }
}

/// What would wait is for a thread that may.
#[test]
fn a_link_that_comes_back_is_not_walked_on_the_worker() {
    let (_tree, served) = tree();
    symlink(served.join("a.txt"), served.join("absolute")).unwrap();
    let root = Root::open(&served).unwrap();
    assert!(got(&root, "absolute").is_some());
    let error = root.open_beneath(b"absolute", Wait::Never).unwrap_err();
    assert_eq!(error, OpenError::WouldWait);
}

/// Ends the other thread, also if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Case 19: while names change places, what is outside is never read, and what is always there is
/// always found.
#[test]
fn a_link_that_changes_while_it_is_followed_leads_to_nothing_outside() {
    for policy in [Symlinks::Inside, Symlinks::None] {
        let (tree, served) = tree();
        let x = served.join("x");
        fs::create_dir(&x).unwrap();
        fs::write(x.join("b.txt"), "b").unwrap();
        symlink(&x, served.join("to-x")).unwrap();
        let others = ["served/sub/deep", "secret", "served"].map(|other| {
            let link = tree.path().join(format!("to-{}", other.replace('/', "-")));
            symlink(tree.path().join(other), &link).unwrap();
            link
        });
        let up = tree.path().join("up");
        symlink("../secret", &up).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for other in others.iter().chain([&up]) {
                        let flags = RenameFlags::EXCHANGE;
                        rustix::fs::renameat_with(CWD, &x, CWD, other, flags).unwrap();
                    }
                }
            });
            let _ends = Ends(&is_over);
            let root = Root::open(&served).unwrap().following(policy);
            let (mut found, mut absent) = (0, 0);
            for _ in 0..5_000 {
                for path in ["x/b.txt", "to-x/b.txt"] {
                    match got(&root, path).as_deref() {
                        Some(text) => {
                            assert_eq!(text, "b", "{policy}: {path}");
                            found += 1;
                        }
                        None => absent += 1,
                    }
                }
            }
            assert!(found > 0 && absent > 0, "{policy}: {found} found, {absent} not");
        });
    }
}

/// Between the walk and the open that follows it the tree may change, but no race is so quick: what
/// counts is that the kernel is told in each call.
#[test]
fn every_open_is_one_beneath_the_root_that_after_a_walk_too() {
    if strace::is_inside() {
        let (_tree, served) = tree();
        symlink(served.join("a.txt"), served.join("to-a")).unwrap();
        symlink(served.join("sub"), served.join("to-sub")).unwrap();
        let [inside, none, all] = [Symlinks::Inside, Symlinks::None, Symlinks::All]
            .map(|policy| Root::open(&served).unwrap().following(policy));
        strace::mark();
        for path in ["a.txt", "to-a", "sub/", "to-sub/", "to-sub/deep/b.txt", "none", "../a"] {
            for root in [&inside, &none] {
                let is_there = root.stat_beneath(path.as_bytes()).is_ok();
                assert_eq!(got(root, path).is_some(), is_there, "{path}");
            }
        }
        for root in [&inside, &none, &all] {
            for path in ["", "sub", "to-sub", "to-sub/deep"] {
                drop(root.open_directory(path.as_bytes()));
            }
        }
        return strace::mark();
    }
    require!(Capability::Strace);
    let trace = Strace::of_test(test_name!()).unwrap().run().unwrap();
    trace.assert_success();
    let opens = trace.marked().iter().filter(|call| call.name.starts_with("open"));
    let opens: Vec<_> = opens.collect();
    // Of each of the two that lead to a file over a link: the try, the walk's, and the open.
    assert!(opens.len() > 40, "{}", opens.len());
    for call in opens {
        assert!(call.name == "openat2" && call.arguments.contains("RESOLVE_BENEATH"), "{call:?}");
    }
}
