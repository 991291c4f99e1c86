//! Files that change in mid-send: a response that completes is the file as it was.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio_rustls::TlsAcceptor;
use underpass::{CopyStream, FileBytes, Listener, Stability};
use underpass_http_body::FileBody;
use underpass_testkit::midsend::{Fault, assert_whole_or_cut, curl, file};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, tls};

use crate::by_reference;

#[derive(Debug, Clone, Copy)]
enum Kind {
    ByReference,
    Copied,
}

impl Kind {
    fn body(self, mapped: FileBytes) -> FileBody {
        match self {
            Self::ByReference => by_reference(mapped),
            Self::Copied => FileBody::copied(mapped),
        }
    }
}

/// Answers one request with the body, by the version of HTTP.
async fn answer<S>(stream: S, is_http2: bool, body: FileBody)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let body = std::sync::Mutex::new(Some(body));
    let answer = service_fn(|_: Request<Incoming>| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    let io = TokioIo::new(stream);
    // How it ends is what the client says.
    if is_http2 {
        drop(http2::Builder::new(TokioExecutor::new()).serve_connection(io, answer).await);
    } else {
        drop(http1::Builder::new().keep_alive(false).serve_connection(io, answer).await);
    }
}

/// What curl gets in the midst of a fault from a server that `serve` makes of a socket.
fn fetch(
    (kind, fault): (Kind, Fault),
    arguments: &[&str],
    url: &str,
    serve: impl AsyncFnOnce(Listener<UnixListener>, FileBody),
) {
    let (file, was) = file().unwrap();
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., Stability::Guard).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        let listener = runtime.block_on(async { UnixListener::bind(&path).unwrap() });
        let client = scope.spawn(|| curl(&path, arguments, url, (fault, &file)).unwrap());
        runtime.block_on(serve(Listener::new(listener), kind.body(mapped)));
        assert_whole_or_cut(fault, client.join().unwrap(), &was);
    });
}

fn every(mut test: impl FnMut(Kind, Fault)) {
    for kind in [Kind::ByReference, Kind::Copied] {
        for &fault in Fault::ALL {
            test(kind, fault);
        }
    }
}

#[test]
fn over_http1_a_changed_file_is_cut_and_a_grown_one_whole() {
    require!(Capability::Program("curl"));
    every(|kind, fault| {
        fetch((kind, fault), &[], "http://localhost/", async |listener, body| {
            answer(listener.accept().await.unwrap().0, false, body).await;
        });
    });
}

#[test]
fn over_http2_a_changed_file_is_cut_and_a_grown_one_whole() {
    require!(Capability::Program("curl"));
    every(|kind, fault| {
        let http2 = ["--http2-prior-knowledge"];
        fetch((kind, fault), &http2, "http://localhost/", async |listener, body| {
            answer(listener.accept().await.unwrap().0, true, body).await;
        });
    });
}

/// rustls reads what it sends, and does not ask the file before the end: a `CopyStream` does, and
/// a copied body needs none.
#[test]
fn over_tls_in_user_space_a_changed_file_is_cut_and_a_grown_one_whole() {
    require!(Capability::Program("curl"));
    let identity = tls::Identity::new().unwrap();
    let config = identity.server((&rustls::version::TLS13, "")).unwrap();
    every(|kind, fault| {
        let url = "https://localhost/";
        fetch((kind, fault), &["--insecure"], url, async |listener, body| {
            let (socket, _) = listener.get_ref().accept().await.unwrap();
            let tls = TlsAcceptor::from(config.clone()).accept(socket).await.unwrap();
            match kind {
                Kind::ByReference => answer(CopyStream::new(tls), false, body).await,
                Kind::Copied => answer(tls, false, body).await,
            }
        });
    });
}
