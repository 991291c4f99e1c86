//! What a user may get wrong: each gets one line that names the object and what to do, and makes
//! nothing.

use std::fs::File;
use std::process::Stdio;

use super::{assert_payload, command, failure, names, patterned};

#[test]
fn each_mistake_is_one_line_that_names_the_object_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    patterned(dir.path(), "file", 1_000);
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    let in_it = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (file, folder, new) = (in_it("file"), in_it("folder"), in_it("new/"));
    let (inside, long) = (in_it("file/x"), in_it(&"a".repeat(300)));
    for (arguments, object, remedy) in [
        (&[&*file, &*new][..], &*new, "is not a directory; make it first, or leave out the"),
        (&[&file, &inside], &inside, "; check the path; something in it is a file"),
        (&[&file, &long], &long, "; choose a shorter name"),
        (&["-r", &folder, &file], &file, "exists and is not a directory; name a directory, or"),
        (&["-r", "tcp-listen://0", &folder], "tcp-listen://127.0.0.1:0", "-r copies a directory"),
        (&["-r", &folder, "-"], "-r copies a directory to a path, and -", "is not one"),
        (
            &[&file, "tcp://no.such.host.invalid:9"],
            "cannot connect to tcp://no.such.host.invalid:9: the host was not found (",
            "); check its name, or give its address",
        ),
        (
            &["tcp-listen://no.such.host.invalid:9", "-"],
            "cannot listen at tcp-listen://no.such.host.invalid:9: the host was not found (",
            "); check its name, or give its address",
        ),
        (
            &[&file, "http://no.such.host.invalid/x"],
            "cannot connect to http://no.such.host.invalid/x: the host was not found (",
            "); check its name, or give its address",
        ),
    ] {
        let (code, line) = failure(arguments);
        assert_eq!((code, line.lines().count()), (Some(1), 1), "{line}");
        assert!(line.contains(object) && line.contains(remedy), "{line}");
    }
    for word in ["tcp:a:9", "unix:/run/x", "http:/a/b", "tcp://[::1:9", "http://::1/x"] {
        let (code, line) = failure(&[&file, word]);
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains(&format!("invalid value '{word}' for '<DST>': ")), "{line}");
    }
    assert_eq!(names(dir.path()), ["file", "folder"]);
}

#[test]
fn an_account_that_cannot_be_printed_is_said_to_be_that() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 1_000);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(&["--json", from.to_str().unwrap(), "/dev/null"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("cannot print the result to standard output: No space left"), "{line}");
}

#[test]
fn a_file_that_is_open_at_one_end_is_not_written_over_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = patterned(dir.path(), "file", 1_000);
    let name = path.to_str().unwrap();
    let open = || File::options().read(true).append(true).open(&path).unwrap();
    for (arguments, ends) in [
        (&["--no-atomic", "-", name][..], format!("- and {name}")),
        (&["-", name], format!("- and {name}")),
        (&[name, "-"], format!("{name} and -")),
        (&["fd:0", "fd:1"], "fd:0 and fd:1".to_owned()),
    ] {
        let output = command(arguments).stdin(open()).stdout(open()).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(
            line,
            format!("underpass copy: {ends} are the same file; choose another sink\n")
        );
        assert_payload(&path, 0, 1_000);
    }
    // A range of it, to another place.
    let to = File::options().write(true).open(&path).unwrap();
    let mut command = command(&["-q", "--range", "0-9", name, "-"]);
    assert!(command.stdout(to).status().unwrap().success());
    assert_payload(&path, 0, 1_000);
}
