//! A layer that reads bodies on their way: tower-http's compression.

use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use tokio::net::UnixListener;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use underpass::{FileBytes, Stability};
use underpass_http_body::FileBody;
use underpass_testkit::midsend::{Fault, assert_whole_or_cut, curl, file};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

/// What curl unpacks of a response that is compressed while `fault` befalls the file.
fn fetch(fault: Fault, body: impl FnOnce(FileBytes) -> Body) {
    let (file, was) = file().unwrap();
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., Stability::Guard).unwrap();
    let body = Mutex::new(Some(body(mapped)));
    let body = move || std::future::ready(body.lock().unwrap().take().unwrap());
    let body = std::sync::Arc::new(body);
    let app = Router::new().route("/", get(move || body()));
    let app = app.layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async { UnixListener::bind(&path).unwrap() });
    let serving = axum::serve(underpass_axum::listener(listener), app).into_future();
    let serving = runtime.spawn(serving);
    let got = curl(&path, &["--compressed"], "http://localhost/", (fault, &file)).unwrap();
    serving.abort();
    assert_whole_or_cut(fault, got, &was);
}

#[test]
fn a_file_that_changes_while_it_is_compressed_is_cut_and_a_grown_one_whole() {
    require!(Capability::Program("curl"));
    for &fault in Fault::ALL {
        fetch(fault, |mapped| Body::new(FileBody::copied(mapped)));
        fetch(fault, |mapped| Body::new(by_reference(mapped)));
    }
}

#[expect(unsafe_code, reason = "bodies of files that change are what is tested")]
fn by_reference(mapped: FileBytes) -> FileBody {
    // SAFETY: `FileBytes::into_frames`: the layer reads each frame before it asks for the next.
    FileBody::by_reference(unsafe { mapped.into_frames() })
}
