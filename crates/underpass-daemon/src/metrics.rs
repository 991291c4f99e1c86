//! Metrics in the OpenMetrics text format, over HTTP on a separate address.
//!
//! Whatever the path, the answer is the metrics: counts are read when they are asked for.
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

/// Answers scrapers, for ever.
pub(crate) async fn serve(listener: Option<std::net::TcpListener>, registry: Registry) {
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
                    scrapers.spawn(timeout(LIMIT, answer(scraper, Arc::clone(&registry))));
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

async fn answer(mut scraper: TcpStream, registry: Arc<Registry>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        if scraper.read_buf(&mut request).await? == 0 || request.len() > REQUEST_MAX {
            return Ok(());
        }
    }
    let is_get = request.starts_with(b"GET ") || request.starts_with(b"HEAD ");
    let mut body = String::new();
    let status = match is_get.then(|| encode(&mut body, &registry)) {
        Some(Ok(())) => "200 OK",
        Some(Err(_)) => "500 Internal Server Error",
        None => "405 Method Not Allowed",
    };
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {len}\r\n\
         connection: close\r\n\r\n"
    );
    scraper.write_all(head.as_bytes()).await?;
    if !request.starts_with(b"HEAD ") {
        scraper.write_all(body.as_bytes()).await?;
    }
    scraper.shutdown().await
}
