use http::Request;

use super::*;

fn upload() -> Upload {
    Upload::new(vec!["in/**".parse().unwrap(), "*.bin".parse().unwrap()], 1000, false)
}

#[test]
fn files_are_put_where_a_pattern_says() {
    for (path, is_for) in [
        ("/in/a", true),
        ("/in/x/a", true),
        ("/%69n//a", true),
        ("/a.bin", true),
        ("/x/a.bin", true),
        ("*", true),
        ("/a", false),
        ("/in", false),
        ("/in/../a", false),
        ("/%", true),
    ] {
        assert_eq!(upload().is_for(path), is_for, "{path}");
    }
}

#[test]
fn what_the_head_alone_refuses_is_refused_by_it() {
    let of = |path: &str, fields: &[(&str, &str)]| {
        let request = fields
            .iter()
            .fold(Request::put(path), |request, (name, value)| request.header(*name, *value));
        let head = request.body(()).unwrap().into_parts().0;
        Wanted::of(&head, &upload(), &SiteOptions::new(".".into()))
    };
    for (path, fields, status) in [
        ("/", &[][..], 409),
        ("/a/", &[], 409),
        ("/a%2fb", &[], 400),
        ("/.a", &[], 403),
        ("/.git/a", &[], 403),
        ("/.underpass-upload-1", &[], 403),
        ("/a", &[("content-range", "bytes 0-1/2")], 400),
        ("/a", &[("content-encoding", "gzip")], 415),
        ("/a", &[("content-length", "1001")], 413),
        ("/a", &[("content-length", "18446744073709551615")], 413),
    ] {
        let refusal = of(path, fields).unwrap_err();
        assert_eq!(refusal.status(), status, "{path} {fields:?}");
        let answer = refusal.into_answer();
        let is_coded = status == 415;
        assert_eq!(answer.headers.contains_key("accept-encoding"), is_coded);
    }
    let wanted = of("/a/b/c", &[("content-length", "1000")]).unwrap();
    assert_eq!((&*wanted.directory, &*wanted.name), (&b"a/b/"[..], &b"c"[..]));
    assert_eq!(wanted.len, Some(1000));
    let wanted = of("/c", &[("transfer-encoding", "chunked")]).unwrap();
    assert_eq!((&*wanted.directory, &*wanted.name, wanted.len), (&b""[..], &b"c"[..], None));
    let mut hidden = SiteOptions::new(".".into());
    hidden.lookup.hidden = true;
    let head = Request::put("/.underpass-upload-1").body(()).unwrap().into_parts().0;
    assert!(matches!(Wanted::of(&head, &upload(), &hidden), Err(Refusal::Hidden)));
}
