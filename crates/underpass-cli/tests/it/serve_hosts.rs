//! `underpass serve` with several sites in its file of settings, and their reload.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::wait;

use crate::client::{answer, connect};
use crate::command::underpass;
use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// Directories with a file that holds their name, and a file of settings.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("a"), name).unwrap();
        }
        Self { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("settings.toml")
    }

    /// Writes the settings; `DIR` in them is the place.
    fn set(&self, text: &str) {
        let text = text.replace("DIR", self.dir.path().to_str().unwrap());
        fs::write(self.file(), text).unwrap();
    }

    fn serve(&self, flags: &[&str]) -> Running {
        let mut command = program();
        command.args(["serve", "--listen", "0", "--config"]).arg(self.file()).args(flags);
        Running::start(&mut command)
    }

    /// What is said against the settings.
    fn problem(&self, flags: &[&str]) -> String {
        let file = self.file();
        let words = [&["serve", "--check", "--config", file.to_str().unwrap()], flags].concat();
        let output = underpass(&words);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        let problem = text.strip_prefix(&format!("underpass serve: {}:", file.display()));
        problem.unwrap_or_else(|| panic!("{text}")).trim_end().to_owned()
    }
}

/// The answer to a request on a connection that stays open.
fn ask(peer: &mut TcpStream, host: &str, path: &str) -> std::io::Result<(String, String)> {
    peer.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
    answer(peer)
}

#[test]
fn each_table_is_a_site_with_its_own_flags() {
    let place = Place::new(&["one", "two", "rest"]);
    place.set(
        "[host.\"www.a.org\"]\ndirectory = \"DIR/one\"\nheader = [\"X-A: a\"]\n\
         [host.\"*.a.org\"]\ndirectory = \"DIR/two\"\nredirect = [\"/b /a\"]\n",
    );
    // Without a directory above, others have nothing; with one, they have it.
    for (flags, others) in [(vec![], "404"), (vec![place.dir.path().join("rest")], "200")] {
        let flags: Vec<_> = flags.iter().map(|it| it.to_str().unwrap()).collect();
        let server = place.serve(&flags);
        assert!(server.line.contains("www.a.org, *.a.org at http://"), "{}", server.line);
        let mut peer = connect(server.address());
        let (head, content) = ask(&mut peer, "WWW.A.org:80", "/a").unwrap();
        assert!(head.contains("\r\nx-a: a\r\n"), "{head}");
        assert_eq!(content, "one");
        let (head, content) = ask(&mut peer, "b.a.org", "/a").unwrap();
        assert!(!head.contains("x-a: "), "{head}");
        assert_eq!(content, "two");
        assert!(ask(&mut peer, "b.a.org", "/b").unwrap().0.contains("\r\nlocation: /a\r\n"));
        let (head, _) = ask(&mut peer, "b.org", "/a").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {others} ")), "{head}");
    }
}

#[test]
fn what_is_wrong_in_a_table_is_said_with_its_place() {
    let place = Place::new(&["one"]);
    for (text, flags, problem) in [
        (
            "[host.\"a.org\"]\ndirectory = \"DIR/one\"\nindex = [\"a/b\"]",
            &[][..],
            "3:10: invalid value 'a/b' for 'index': give names of files, such as \
             index.html,index.htm",
        ),
        ("[host.\"a.org\"]\nlisten = 80", &[], "2:1: there is no key 'listen'; "),
        (
            "\n[host.\"a.org\"]\nclean-urls = true",
            &[],
            "2:7: host 'a.org': there is neither 'directory' nor 'origin'",
        ),
        (
            "[host.\"a.org:80\"]\ndirectory = \".\"",
            &[],
            "1:7: host 'a.org:80': give a name such as www.example.org, *.example.org, or _ for \
             all other hosts",
        ),
        (
            "[host.www.a.org]\ndirectory = \".\"",
            &[],
            "1:7: put a name with a dot in quotes: [host.\"NAME\"]",
        ),
        (
            "hidden = true\n[host.\"a.org\"]\ndirectory = \".\"",
            &[],
            "1:1: 'hidden' is of no site: give 'directory' too, for hosts without a table, or move \
             it into a table",
        ),
        (
            "[host._]\ndirectory = \".\"",
            &["."],
            "1:7: host '_': there is a site for other hosts already, that of the directory above",
        ),
        (
            "[host.\"a.org\"]\ndirectory = \".\"\ncors-max-age = \"1s\"",
            &[],
            "1:7: host 'a.org': the following required arguments were not provided",
        ),
    ] {
        place.set(text);
        let said = place.problem(flags);
        assert!(said.starts_with(problem), "{text}: {said}");
    }
}

#[test]
fn a_reload_applies_what_is_said_of_sites_and_says_what_it_cannot() {
    let place = Place::new(&["one", "two"]);
    place.set("grace = \"1s\"\ndirectory = \"DIR/one\"\n");
    let mut server = place.serve(&[]);
    let mut peer = connect(server.address());
    assert_eq!(ask(&mut peer, "a.org", "/a").unwrap().1, "one");
    let shown = place.file().display().to_string();
    let mut reload = |text: &str, line: &str| {
        place.set(text);
        server.signal(Signal::HUP);
        assert_eq!(server.next_line(), format!("{line}\n"));
    };
    let tables = "directory = \"DIR/one\"\nheader = [\"X-A: a\"]\n\
                  [host.\"b.org\"]\ndirectory = \"DIR/two\"\n";
    reload(
        tables,
        &format!("{shown} was read, and its sites are served; a restart would change: grace"),
    );
    let (head, content) = ask(&mut peer, "a.org", "/a").unwrap();
    assert!(head.contains("\r\nx-a: a\r\n") && content == "one", "{head}");
    assert_eq!(ask(&mut peer, "b.org", "/a").unwrap().1, "two");
    // The second site cannot be; the first stays what it was, too.
    reload(
        "directory = \"DIR/two\"\n[host.\"b.org\"]\ndirectory = \"DIR/none\"\n",
        &format!(
            "the settings stay what they were: cannot open directory {}/none: No such file or \
             directory (os error 2); give a directory you may enter: underpass serve DIR",
            place.dir.path().display()
        ),
    );
    // The sandbox of the start would let nothing in it be read, and the kernel says so too late.
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    reload(
        &format!("directory = {:?}\n", elsewhere.path()),
        &format!(
            "the settings stay what they were: the sandbox does not let {} be read; it has what \
             was served at the start, and what is next to that: restart the server, or run it with \
             --no-sandbox",
            elsewhere.path().display()
        ),
    );
    assert_eq!(ask(&mut peer, "a.org", "/a").unwrap().1, "one");
    assert_eq!(ask(&mut peer, "b.org", "/a").unwrap().1, "two");
    let settings = "grace = \"1s\"\ndirectory = \"DIR/two\"\n";
    reload(settings, &format!("{shown} was read, and its sites are served"));
    assert_eq!(ask(&mut peer, "b.org", "/a").unwrap().1, "two");
    reload(settings, &format!("{shown} says what it said at the start"));
}

/// Ends the clients when it is dropped.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn reloads_under_load_cost_no_request_and_no_connection() {
    let place = Place::new(&["one"]);
    let settings =
        |round: usize| format!("directory = \"DIR/one\"\nheader = [\"X-Round: {round}\"]\n");
    place.set(&settings(0));
    let mut server = place.serve(&["--workers", "2"]);
    let (address, is_over, asked) = (server.address(), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let clients = [0; 4].map(|_| {
            scope.spawn(|| {
                let (mut peer, mut last) = (connect(address), 0);
                loop {
                    // One more after the last reload: not every client has its turn before.
                    let is_last = is_over.load(Ordering::Relaxed);
                    let (head, content) = ask(&mut peer, "x", "/a").unwrap();
                    assert!(head.starts_with("HTTP/1.1 200 ") && content == "one", "{head}");
                    let round = head.split_once("x-round: ").unwrap().1.split_once('\r').unwrap().0;
                    let round: usize = round.parse().unwrap();
                    assert!(round >= last, "a site that is gone answers no more");
                    (last, _) = (round, asked.fetch_add(1, Ordering::Relaxed));
                    if is_last {
                        return last;
                    }
                }
            })
        });
        // Also if this thread fails.
        let _ends = Ends(&is_over);
        for round in 1..=20 {
            let before = asked.load(Ordering::Relaxed);
            place.set(&settings(round));
            server.signal(Signal::HUP);
            let line = server.next_line();
            assert!(line.ends_with("was read, and its sites are served\n"), "{line}");
            let is_served = || (asked.load(Ordering::Relaxed) > before + 50).then_some(());
            wait::until(PATIENCE, is_served).expect("clients are served");
        }
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(client.join().unwrap(), 20);
        }
    });
}
