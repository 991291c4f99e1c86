use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn parts(content_type: &str) -> Result<Parts, Refusal> {
    let value = HeaderValue::from_str(content_type).unwrap();
    Parts::of(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
}

/// The name of a file, if it is one, and the content.
type Part = (Option<Vec<u8>>, Vec<u8>);

/// What a form is, that comes in these pieces, and whether it ends.
fn read(pieces: &[&[u8]]) -> Result<(Vec<Part>, bool), u16> {
    let mut parts = parts("multipart/form-data; boundary=XY").unwrap();
    let (mut found, mut pieces) = (Vec::new(), pieces.iter());
    loop {
        match parts.next().map_err(|refusal| refusal.status().as_u16())? {
            Event::Begin(name) => found.push((name, Vec::new())),
            Event::Content(bytes) => found.last_mut().unwrap().1.extend_from_slice(&bytes),
            Event::End => {}
            Event::Over => return Ok((found, true)),
            Event::More => match pieces.next() {
                Some(piece) => parts.add(piece),
                None => return Ok((found, false)),
            },
        }
    }
}

const FORM: &[u8] =
    b"before\r\n--XY\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n\
    --XY  \t\r\ncontent-disposition: form-data; name=f; filename=\"a b\"\r\nX: y\r\n\r\n\
    one\r\n--X\r\n-- \r\r\n--XZ\r\n--XY\r\nContent-Disposition:form-data; filename=\"\"\r\n\r\n\r\n\
    --XY--\r\nafter\r\n--XY\r\n";

#[test]
fn a_form_is_the_same_in_whatever_pieces_it_comes() {
    let expected = vec![
        (None, b"value".to_vec()),
        (Some(b"a b".to_vec()), b"one\r\n--X\r\n-- \r\r\n--XZ".to_vec()),
        (Some(Vec::new()), Vec::new()),
    ];
    for size in 1..=FORM.len() {
        let pieces: Vec<_> = FORM.chunks(size).collect();
        assert_eq!(read(&pieces), Ok((expected.clone(), true)), "{size}");
    }
}

#[test]
fn less_than_a_head_is_kept_of_what_came() {
    let mut parts = parts("multipart/form-data; boundary=XY").unwrap();
    parts.add(b"--XY\r\nContent-Disposition: form-data; filename=a\r\n\r\n");
    assert_eq!(parts.next().unwrap(), Event::Begin(Some(b"a".to_vec())));
    let (mut len, piece) = (0, [b'-'; 10_000]);
    for _ in 0..100 {
        parts.add(&piece);
        while let Event::Content(bytes) = parts.next().unwrap() {
            len += bytes.len();
        }
        assert!(parts.buffer.len() < parts.delimiter.len());
    }
    assert_eq!(len + parts.buffer.len(), 1_000_000);
}

#[test]
fn what_is_not_a_form_is_refused() {
    let long = format!("--XY\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
    let fields = "X: x\r\n".repeat(9);
    for (form, status) in [
        ("--XYZ\r\n\r\n", 400),
        ("--XY\r\n\r\n\r\n", 400),
        ("--XY\r\nX: x\r\n\r\n", 400),
        ("--XY\r\nContent-Disposition: attachment; filename=a\r\n\r\n", 400),
        ("--XY\r\nContent-Disposition: form-data\r\nContent-Disposition: form-data\r\n\r\n", 400),
        ("--XY\r\nno colon\r\n\r\n", 400),
        (&long, 400),
        (&format!("--XY\r\n{fields}\r\n"), 400),
        (&format!("--XY{}", " ".repeat(65)), 400),
    ] {
        assert_eq!(read(&[form.as_bytes()]), Err(status), "{form}");
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    for content_type in [
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/mixed; boundary=a",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        &long,
    ] {
        assert_eq!(parts(content_type).unwrap_err().status(), 415, "{content_type}");
    }
    assert!(parts("Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b\"").is_ok());
}

#[test]
fn names_are_what_browsers_and_curl_mean() {
    let name = |value: &[u8]| {
        let head = [b"Content-Disposition: form-data; name=\"x\"; ", value, b"\r\n\r\n"].concat();
        file_name(&head).unwrap().map(|name| String::from_utf8_lossy(&name).into_owned())
    };
    for (value, expected) in [
        (&b"filename=\"a b.txt\""[..], Some("a b.txt")),
        (b"filename=a.txt", Some("a.txt")),
        (b"FILENAME = \"a;b=c\" ; x=y", Some("a;b=c")),
        (b"filename=\"a%22b%0D%0a%2f%25\"", Some("a\"b\r\n%2f%25")),
        (b"filename=\"a\\\"b\\\\c\\d\"", Some("a\"b\\c\\d")),
        ("filename=\"\u{e9}\u{1f600}\"".as_bytes(), Some("\u{e9}\u{1f600}")),
        (b"filename*=UTF-8''a", None),
        (b"filename", None),
        (b"filename=\"open", Some("open")),
        (b"filename=\"a\\", Some("a\\")),
        (b"filename=one; filename=two", Some("one")),
    ] {
        assert_eq!(name(value).as_deref(), expected, "{:?}", String::from_utf8_lossy(value));
    }
}

proptest! {
    #[test]
    fn nothing_that_comes_is_worse_than_refused(
        pieces in prop::collection::vec(
            prop_oneof![
                Just(b"\r\n--XY".to_vec()),
                Just(b"\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\n".to_vec()),
                Just(b"--".to_vec()),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
            0..20,
        )
    ) {
        let all = pieces.concat();
        let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(read(&pieces), read(&[&all]));
    }
}
