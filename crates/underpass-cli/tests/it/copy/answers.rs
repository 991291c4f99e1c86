//! Answers that are not what was asked for: asked on, or an error, and no name for what is not
//! whole.

use super::scripted::Scripted;
use super::{failure, names, utf8};

const TAG: &str = "ETag: \"a\"\r\n";

/// `0123456789` without a length, in both ways.
const ENDLESS: [&str; 2] = [
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n012\r\n7\r\n3456789\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\n0123456789",
];

/// A 206 with a tag.
fn part(range: &str, content: &str) -> String {
    let len = content.len();
    format!(
        "HTTP/1.1 206 Part\r\n{TAG}Content-Range: bytes {range}\r\nContent-Length: {len}\r\n\r\n\
         {content}"
    )
}

/// Copies from this server into `to`, perhaps with a part of it there: the words on standard error
/// or, after a success, what arrived.
fn copied(flags: &[&str], server: &Scripted, part: Option<&str>) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    if let Some(part) = part {
        std::fs::write(dir.path().join("to.part"), part).unwrap();
    }
    let (code, said) = failure(&[&["-q"], flags, &[&server.url("/f"), utf8(&to)]].concat());
    if code == Some(0) {
        assert_eq!(names(dir.path()), ["to"], "{said}");
        return Ok(std::fs::read_to_string(to).unwrap());
    }
    assert_eq!((code, to.exists()), (Some(1), false), "{said}");
    Err(said)
}

fn is_refused(flags: &[&str], answers: &[&str], why: &str) {
    let said = copied(flags, &Scripted::start(answers), None).unwrap_err();
    assert!(said.contains(why), "{flags:?} {answers:?}: {said}");
}

#[test]
fn a_status_without_content_makes_no_file() {
    for status in ["204 None", "205 Reset", "304 Same", "302 Found", "202 Later", "101 Other"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        is_refused(&[], &[&answer], &format!("the server answered {status}"));
    }
    let nowhere = "HTTP/1.1 302 Found\r\nLocation:\r\n\r\n";
    is_refused(&[], &[nowhere], "the server answered 302 Found");
    let other = "HTTP/1.1 302 Found\r\nLocation: ftp://a/b\r\n\r\n";
    is_refused(&[], &[other], "redirect to 'ftp://a/b': its scheme is neither http nor https");
}

#[test]
fn a_range_of_what_has_no_length_is_taken_out_of_it() {
    for answer in ENDLESS {
        for (range, taken) in
            [("4-", "456789"), ("4-6", "456"), ("4-60", "456789"), ("0-", "0123456789")]
        {
            let server = Scripted::start([answer]);
            assert_eq!(copied(&["--range", range], &server, None).as_deref(), Ok(taken), "{range}");
            assert!(server.asked().contains(&format!("\r\nRange: bytes={range}\r\n")), "{range}");
        }
        is_refused(&["--range", "20-"], &[answer], "does not start within");
        is_refused(&["--range", "-3"], &[answer], "it does not give the length");
    }
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n012\r\n7\r\n34";
    is_refused(&["--range", "1-"], &[cut], "closed before the last chunk");
    is_refused(&["--range", "1-8"], &[cut], "closed before the last chunk");
}

#[test]
fn a_copy_is_resumed_from_what_has_no_length() {
    for answer in ENDLESS {
        for part in ["", "0", "0123", "0123456789"] {
            let server = Scripted::start([answer]);
            let got = copied(&["--resume"], &server, Some(part));
            assert_eq!(got.as_deref(), Ok("0123456789"), "{part}");
        }
        for (part, why) in [("0x23", "at byte 1"), ("0123456789abc", "already has 13 bytes")] {
            let said = copied(&["--resume"], &Scripted::start([answer]), Some(part)).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}

#[test]
fn a_range_that_is_not_the_one_asked_for_is_refused() {
    for (flags, answer, why) in [
        (&[][..], part("0-3/10", "0123"), "answered with bytes 0-3/10, and all were asked for"),
        (&["--range", "4-"], part("5-9/10", "56789"), "bytes 5-9/10, and 4- was asked for"),
        (&["--range", "4-"], part("4-9/10", "45678"), "bytes 4-9/10 follow, and that they are 5"),
        (&["--range", "4-"], part("4-9/*", "456789"), "bytes 4-9/*, and 4- was asked for"),
        (&["--range", "-3"], part("8-9/10", "89"), "bytes 8-9/10, and -3 was asked for"),
        (&["--range", "4-"], part("4-9", "456789"), "206 without one Content-Range"),
        (&["--parallel", "4"], part("2-9/10", "23456789"), "bytes 2-9/10, and 0- was asked for"),
        (&["--resume"], part("2-9/10", "23456789"), "bytes 2-9/10, and all were asked for"),
    ] {
        is_refused(flags, &[&answer], why);
    }
    let parts = "HTTP/1.1 206 Part\r\nContent-Type: multipart/byteranges; boundary=x\r\n\r\n\
                 --x\r\nContent-Range: bytes 4-9/10\r\n\r\n456789\r\n--x--\r\n";
    is_refused(&["--range", "4-"], &[parts], "it answered with several ranges");
    let whole = part("0-9/10", "0123456789");
    assert_eq!(copied(&[], &Scripted::start([&whole]), None).unwrap(), "0123456789");
    let more = Scripted::start([&whole]);
    assert_eq!(copied(&["--range", "4-5"], &more, None).unwrap(), "45");
}

#[test]
fn the_rest_of_a_range_is_asked_for_if_it_is_of_the_same_version() {
    let chunked = part("6-8/10", "3\r\n678\r\n0\r\n\r\n")
        .replace("Content-Length: 13", "Transfer-Encoding: chunked");
    let (begin, rest) = (part("4-5/10", "45"), [chunked, part("9-9/10", "9")]);
    for flags in [&["--range", "4-"][..], &["--range", "4-", "--checksum", "sha256"]] {
        let server = Scripted::start([&begin, &rest[0], &rest[1]]);
        assert_eq!(copied(flags, &server, None).as_deref(), Ok("456789"));
        assert!(server.asked().contains("\r\nRange: bytes=4-\r\n"));
        for range in ["6-9", "9-9"] {
            let asked = server.asked();
            let fields = format!("\r\nRange: bytes={range}\r\nIf-Range: \"a\"\r\n");
            assert!(asked.contains(&fields), "{asked}");
        }
    }
    let other = part("6-9/10", "6789").replace("\"a\"", "\"b\"");
    let weak = begin.replace("ETag: ", "ETag: W/");
    let longer = part("6-9/11", "6789");
    for (answers, why) in [
        ([&begin, &other], "the server has another version by now"),
        ([&begin, &longer], "the server has another version by now"),
        ([&weak, &rest[0]], "no strong validator"),
    ] {
        let answers = answers.map(String::as_str);
        is_refused(&["--range", "4-"], &answers, why);
    }
}

#[test]
fn what_is_compared_may_take_several_answers() {
    let begin = part("0-2/10", "012");
    let server = || Scripted::start([&begin, &part("3-7/10", "34567"), &part("8-9/10", "89")]);
    let got = copied(&["--resume"], &server(), Some("012345"));
    assert_eq!(got.as_deref(), Ok("0123456789"));
    let said = copied(&["--resume"], &server(), Some("0123x5")).unwrap_err();
    assert!(said.contains("at byte 4"), "{said}");
    let other = part("3-9/10", "3456789").replace("\"a\"", "\"b\"");
    let said = copied(&["--resume"], &Scripted::start([&begin, &other]), Some("0123"));
    assert!(said.unwrap_err().contains("the server has another version by now"));
}

#[test]
fn a_range_that_is_not_there_is_told_from_an_empty_file() {
    let answer = |field: &str| format!("HTTP/1.1 416 No\r\n{field}Content-Length: 0\r\n\r\n");
    let total = |total: &str| answer(&format!("Content-Range: bytes */{total}\r\n"));
    is_refused(&["--range", "20-"], &[&total("10")], "20- does not start within");
    is_refused(&["--range", "20-"], &[&answer("")], "the server answered 416 No");
    is_refused(&["--range", "4-"], &[&total("10")], "refuses the range 4-, and says");
    for (flags, part) in [
        (&["--range", "0-"][..], None),
        (&["--resume"], Some("")),
        (&["--parallel", "4"], None),
        (&["--parallel", "4", "--resume"], Some("")),
    ] {
        let server = Scripted::start([total("0")]);
        assert_eq!(copied(flags, &server, part).as_deref(), Ok(""), "{flags:?}");
    }
    let said = copied(&["--resume"], &Scripted::start([total("0")]), Some("0")).unwrap_err();
    assert!(said.contains("already has 1 bytes") && said.contains("only 0"), "{said}");
}

#[test]
fn heads_as_servers_write_them_are_read() {
    for head in [
        "HTTP/1.1 206 P\r\nX: a\r\n b\r\nContent-Range: Bytes 0-1/4\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.0 206 P\nCONTENT-RANGE: bytes 0-1/4\n\n",
        "HTTP/1.1 206\r\nContent-Range : bytes\r\n 0-1/4\r\nContent-Length: 2, 2\r\n\r\n",
    ] {
        let server = Scripted::start([format!("{head}hi")]);
        assert_eq!(copied(&["--range", "0-1"], &server, None).as_deref(), Ok("hi"), "{head}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200));
    is_refused(&[], &[&many], "the head of its answer has more than 128 fields");
    is_refused(&[], &["SSH-2.0-x\r\n"], "is not HTTP/1.1; it begins with 'SSH-2.0-x'");
    is_refused(&[], &["HTTP/1.1 200 OK\r\nX"], "closed the connection within the head");
}
