//! A response as hyper's client reads it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The status and the content; `None` if hyper refuses it, or it is cut.
pub fn hyper_reads(wire: &[u8]) -> Option<(u16, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let wire = Wire { bytes: wire.to_vec(), at: 0, is_asked: false, waker: None };
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(1000)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(TokioIo::new(wire))
            .await
            .ok()?;
        let exchange = async move {
            let request = Request::get("/").body(Empty::<Bytes>::new()).expect("a request");
            let response = sender.send_request(request).await.ok()?;
            let status = response.status().as_u16();
            let content = response.into_body().collect().await.ok()?.to_bytes();
            Some((status, content.to_vec()))
        };
        // The connection ends when the exchange has dropped its sender.
        let (read, _) = tokio::join!(exchange, connection);
        read
    })
}

/// A server that has said everything once it is asked.
struct Wire {
    bytes: Vec<u8>,
    at: usize,
    is_asked: bool,
    waker: Option<Waker>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let rest = &self.bytes[self.at..];
        let len = rest.len().min(into.remaining());
        into.put_slice(&rest[..len]);
        self.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
