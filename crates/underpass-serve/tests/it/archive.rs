//! Directories as archives: what other programs make of them, and downloads that are resumed.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use underpass_serve::{Archives, SiteOptions};
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::{require, wait};

use crate::fixture::{Fixture, field};

/// A directory of files of many lengths and names beneath `top/`, and a server of it.
fn site() -> &'static Fixture {
    static SITE: OnceLock<Fixture> = OnceLock::new();
    SITE.get_or_init(|| {
        let tree = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let tree = tempfile::Builder::new().prefix("archived-").tempdir_in(tree).unwrap().keep();
        let top = tree.join("top");
        fs::create_dir_all(top.join("empty")).unwrap();
        let deep = ["d".repeat(100), "e".repeat(100)].join("/");
        fs::create_dir_all(top.join(&deep)).unwrap();
        for (name, len) in [
            ("a", 0_usize),
            ("b b", 1),
            ("c\nc", 511),
            ("caf\u{e9} \u{4e2d}", 512),
            ("large.bin", 3_000_001),
            ("small", 16_384),
            ("less small", 16_385),
            ("zzz", 100),
            (&format!("{deep}/f"), 5),
        ] {
            let content: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
            fs::write(top.join(name), content).unwrap();
        }
        fs::set_permissions(top.join("zzz"), PermissionsExt::from_mode(0o755)).unwrap();
        serve(&tree)
    })
}

fn serve(tree: &Path) -> Fixture {
    let archives = Some(Archives::new("tar,zip".parse().unwrap(), None));
    Fixture::of(SiteOptions { archives, ..SiteOptions::new(tree.to_owned()) })
}

/// The archive of `top/`, whole.
fn download(form: &str) -> Vec<u8> {
    let request =
        format!("GET /top/?archive={form} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = site().exchange(&request);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(field(&head, "content-length"), (answer.len() - end).to_string());
    answer[end..].to_vec()
}

/// Gives a program an archive as its input, or as a file in place of `FILE`, in an empty
/// directory; it must succeed without a word on standard error.
fn give(program: &str, arguments: &[&str], archive: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("archive");
    fs::write(&file, archive).unwrap();
    let into = dir.path().join("into");
    fs::create_dir(&into).unwrap();
    let arguments =
        arguments.iter().map(|it| if *it == "FILE" { file.as_os_str() } else { OsStr::new(it) });
    let mut child = Command::new(program);
    child.args(arguments).current_dir(&into).env("LC_ALL", "C.UTF-8");
    let output =
        child.stdin(fs::File::open(&file).unwrap()).stdout(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program}: {}: {said}", output.status);
    dir
}

/// Whether the files are those of the site, by name, content, date and whether they are programs.
fn assert_extracted(dir: &tempfile::TempDir) {
    let (original, copy) = (site().served.join("top"), dir.path().join("into/top"));
    let output = Command::new("diff").arg("-r").args([&original, &copy]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(copy.join("empty").is_dir());
    for name in ["zzz", "small", "caf\u{e9} \u{4e2d}"] {
        let of = |dir: &Path| {
            let metadata = fs::metadata(dir.join(name)).unwrap();
            let modified = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH);
            (modified.unwrap().as_secs(), metadata.permissions().mode() & 0o100)
        };
        assert_eq!(of(&original), of(&copy), "{name}");
    }
}

#[test]
fn tar_extracts_what_was_served() {
    require!(Program("tar"));
    assert_extracted(&give("tar", &["-xf", "-"], &download("tar")));
}

#[test]
fn bsdtar_extracts_both_forms_from_a_stream() {
    require!(Program("bsdtar"));
    for form in ["tar", "zip"] {
        assert_extracted(&give("bsdtar", &["-xf", "-"], &download(form)));
    }
}

#[test]
fn unzip_tests_and_extracts_what_was_served() {
    require!(Program("unzip"));
    let zip = download("zip");
    give("unzip", &["-tqq", "FILE"], &zip);
    // Without -^ it leaves control characters out of names.
    assert_extracted(&give("unzip", &["-qq^", "FILE"], &zip));
}

#[test]
fn seven_zip_finds_both_forms_in_order() {
    require!(Program("7z"));
    for form in ["tar", "zip"] {
        give("7z", &["t", "-bd", "FILE"], &download(form));
    }
}

#[test]
fn python_finds_both_forms_in_order() {
    require!(Program("python3"));
    let zip = "import sys, zipfile\nzip = zipfile.ZipFile(sys.argv[1])\n\
        assert not zip.testzip()\nassert len(zip.infolist()) == 13, zip.namelist()\n\
        zip.extractall()";
    give("python3", &["-c", zip, "FILE"], &download("zip"));
    let tar = "import sys, tarfile\ntar = tarfile.open(sys.argv[1])\n\
        assert len(tar.getmembers()) == 13, tar.getnames()\ntar.extractall(filter='data')";
    assert_extracted(&give("python3", &["-c", tar, "FILE"], &download("tar")));
}

#[test]
fn a_download_that_broke_off_is_resumed_wherever_that_was() {
    require!(Program("curl"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("archive");
    for form in ["tar", "zip"] {
        let whole = download(form);
        let url = format!("http://{}/top/?archive={form}", site().address);
        let cuts = [1, 700, 1_500_000, whole.len() - 20_000, whole.len() - 600, whole.len() - 5];
        for cut in cuts {
            fs::write(&file, &whole[..cut]).unwrap();
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--fail", "--noproxy", "*", "-C", "-", "-o"]).arg(&file).arg(&url);
            assert!(curl.status().unwrap().success());
            assert!(fs::read(&file).unwrap() == whole, "{form} at {cut}");
        }
    }
}

/// There files are copied, as h2 looks at what it writes.
#[test]
fn an_archive_is_the_same_over_http_2() {
    require!(Program("curl"));
    for form in ["tar", "zip"] {
        let url = format!("http://{}/top/?archive={form}", site().address);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "--noproxy", "*", "--http2-prior-knowledge"]).arg(&url);
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == download(form), "{form}");
    }
}

#[test]
fn archives_are_made_of_what_is_listed_in_forms_that_are_switched_on() {
    let status = |server: &Fixture, path: &str| {
        let answer =
            server.answers(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        answer[9..12].to_owned()
    };
    for (path, expected) in [
        ("/top/?archive=rar", "404"),
        ("/top/?archive=", "404"),
        ("/top?archive=tar", "308"),
        ("/none/?archive=tar", "404"),
        ("/top/zzz?archive=tar", "200"),
    ] {
        assert_eq!(status(site(), path), expected, "{path}");
    }
    let without = Fixture::serve(site().served.clone());
    assert_eq!(status(&without, "/top/?archive=tar"), "404");
    let page = site().answers("GET /top/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(page.contains("<a href=\"?archive=tar\" rel=\"nofollow\" download>"), "{page}");
    let archives = Some(Archives::new("tar".parse().unwrap(), Some(1_000_000)));
    let options = SiteOptions { archives, ..SiteOptions::new(site().served.clone()) };
    let small = Fixture::of(options)
        .answers("GET /top/?archive=tar HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(small.starts_with("HTTP/1.1 403 "), "{small}");
    assert!(small.ends_with("more than an archive may be here.\n"), "{small}");
}

/// It may be changed before its turn, or while it is sent.
#[test]
fn an_archive_of_which_a_file_is_changed_does_not_complete() {
    for changed in ["1-first", "2-second"] {
        for form in ["tar", "zip"] {
            let tree = tempfile::tempdir().unwrap();
            for name in ["1-first", "2-second"] {
                fs::write(tree.path().join(name), vec![b'a'; 20_000_000]).unwrap();
            }
            let server = serve(tree.path());
            let mut peer = server.connect();
            write!(peer, "GET /?archive={form} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = vec![0; 4_000];
            peer.read_exact(&mut answer).unwrap();
            wait::until_file_times_move();
            let mut file = fs::File::options().write(true).open(tree.path().join(changed)).unwrap();
            file.write_all(&vec![b'b'; 20_000_000]).unwrap();
            match peer.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
            let whole = 40_000_000;
            assert!(answer.len() < whole, "{changed} {form}: {} bytes came", answer.len());
        }
    }
}

#[test]
fn a_head_has_the_length_and_a_tag_is_as_good_as_the_files_are_old() {
    let head = |fields: &str| {
        site().answers(&format!(
            "HEAD /top/?archive=zip HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n"
        ))
    };
    let etag = || Some(field(&head(""), "etag").to_owned()).filter(|tag| tag.starts_with('"'));
    let etag = wait::until(Duration::from_secs(10), etag).expect("a second passes");
    assert_eq!(field(&head(""), "content-length"), download("zip").len().to_string());
    let again = head(&format!("If-None-Match: {etag}\r\n"));
    assert!(again.starts_with("HTTP/1.1 304 "), "{again}");
    assert_eq!(field(&again, "etag"), etag);
}

#[test]
fn names_that_are_no_text_are_extracted_as_they_are() {
    require!(Program("tar"));
    let tree = tempfile::tempdir().unwrap();
    let short = [&b"\xff-"[..], &[b'x'; 10]].concat();
    let long = [&b"\xff-"[..], &[b'x'; 150]].concat();
    for name in [&short, &long] {
        fs::write(tree.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let server = serve(tree.path());
    let answer =
        server.exchange("GET /?archive=tar HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    // It takes bytes as they are, and need not be told that they may be anything.
    let quietly = "--warning=no-unknown-keyword";
    let dir = give("tar", &[quietly, "-xf", "-"], &answer[end..]);
    for name in [&short, &long] {
        assert!(dir.path().join("into/files").join(OsStr::from_bytes(name)).is_file());
    }
}
