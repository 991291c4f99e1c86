//! Metrics in the OpenMetrics text format, and whether the server is well, over HTTP on a separate
//! address: `/metrics` and `/healthz`.
//!
//! Counts are read when they are asked for. A server that drains is not well: a load balancer is to
//! send it no more.
//!
//! Source: OpenMetrics 1.0, "Text format", "Exposition over HTTP"; RFC 9112 §9.6 (close).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::limits::pause_after;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// No scraper makes a longer request.
const REQUEST_MAX: usize = 8 << 10;

/// How long a scraper may take for everything.
const LIMIT: Duration = Duration::from_secs(10);

/// Scrapers at a time; those past them wait.
const SCRAPERS_MAX: usize = 16;

/// A gauge that has this value when it is read.
#[must_use]
pub fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Listens for scrapers, with a socket that does not block.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers scrapers, for ever. `stop` is how many signals have asked for the end.
pub(crate) async fn serve(
    listener: Option<std::net::TcpListener>,
    registry: Registry,
    stop: watch::Receiver<u32>,
) {
    let listener = match listener.map(TcpListener::from_std).transpose() {
        Ok(Some(listener)) => listener,
        Ok(None) => return std::future::pending().await,
        Err(error) => {
            tracing::error!("no metrics: {error}");
            return std::future::pending().await;
        }
    };
    let registry = Arc::new(registry);
    let mut scrapers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if scrapers.len() < SCRAPERS_MAX => match accepted {
                Ok((scraper, _)) => {
                    let is_draining = *stop.borrow() > 0;
                    let answering = answer(scraper, Arc::clone(&registry), is_draining);
                    scrapers.spawn(timeout(LIMIT, answering));
                }
                Err(error) => if let Some(pause) = pause_after(&error) {
                    sleep(pause).await;
                }
            },
            // A scraper that goes away is its own affair.
            Some(_) = scrapers.join_next() => {}
        }
    }
}

async fn answer(
    mut scraper: TcpStream,
    registry: Arc<Registry>,
    is_draining: bool,
) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        if scraper.read_buf(&mut request).await? == 0 || request.len() > REQUEST_MAX {
            return Ok(());
        }
    }
    let Said { status, content_type, body } = say(&request, &registry, is_draining);
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len}\r\n\
         connection: close\r\n\r\n"
    );
    scraper.write_all(head.as_bytes()).await?;
    if !request.starts_with(b"HEAD ") {
        scraper.write_all(body.as_bytes()).await?;
    }
    scraper.shutdown().await
}

/// An answer.
struct Said {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Said {
    fn plain(status: &'static str, text: &str) -> Self {
        let body = format!("{text}\n");
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }
}

fn say(request: &[u8], registry: &Registry, is_draining: bool) -> Said {
    let mut words = request.split(|byte| *byte == b' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    if !matches!(method, Some(b"GET" | b"HEAD")) {
        return Said::plain("405 Method Not Allowed", "GET or HEAD");
    }
    match target.split(|byte| *byte == b'?').next() {
        Some(b"/healthz") if is_draining => Said::plain("503 Service Unavailable", "draining"),
        Some(b"/healthz") => Said::plain("200 OK", "ok"),
        Some(b"/metrics") => {
            let mut body = String::new();
            match encode(&mut body, registry) {
                Ok(()) => Said { status: "200 OK", content_type: CONTENT_TYPE, body },
                Err(_) => Said::plain("500 Internal Server Error", "the metrics do not encode"),
            }
        }
        _ => Said::plain("404 Not Found", "there are /metrics and /healthz"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_answer_and_a_server_that_drains_is_not_well() {
        let registry = Registry::default();
        for (request, is_draining, status, body) in [
            ("GET /metrics HTTP/1.1\r\n", false, "200 OK", "# EOF\n"),
            ("GET /metrics?name[]=a HTTP/1.1\r\n", true, "200 OK", "# EOF\n"),
            ("GET /healthz HTTP/1.1\r\n", false, "200 OK", "ok\n"),
            ("HEAD /healthz HTTP/1.0\r\n", true, "503 Service Unavailable", "draining\n"),
            ("GET / HTTP/1.1\r\n", false, "404 Not Found", "there are /metrics and /healthz\n"),
            ("GET /metrics/ H", false, "404 Not Found", "there are /metrics and /healthz\n"),
            ("POST /metrics H", false, "405 Method Not Allowed", "GET or HEAD\n"),
            ("GET", false, "404 Not Found", "there are /metrics and /healthz\n"),
        ] {
            let said = say(request.as_bytes(), &registry, is_draining);
            assert_eq!((said.status, said.body.as_str()), (status, body), "{request}");
        }
    }
}
