//! How the clients of a bench reach the servers: in the clear or over TLS, by HTTP/1 or HTTP/2.

use std::net::TcpStream;
use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::framed::Framed;
use super::secured::Certificate;

/// What is chosen by flags.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Choice {
    /// Over TLS.
    #[arg(long)]
    tls: bool,
    /// Over HTTP/2.
    #[arg(long)]
    http2: bool,
}

/// The choice, with what it needs.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) tls: Option<Certificate>,
    pub(crate) is_http2: bool,
}

impl Way {
    /// HTTP/1.1 without TLS.
    pub(crate) const PLAIN: Self = Self { tls: None, is_http2: false };

    /// Leaves a certificate in `dir` if one is needed.
    pub(crate) fn new(choice: Choice, dir: &Path) -> Result<Self> {
        let tls = choice.tls.then(|| Certificate::new(dir)).transpose()?;
        Ok(Self { tls, is_http2: choice.http2 })
    }

    /// What titles say of it.
    pub(crate) const fn told(&self) -> &'static str {
        match (self.is_http2, self.tls.is_some()) {
            (false, false) => "",
            (false, true) => " over TLS",
            (true, false) => " over HTTP/2",
            (true, true) => " over HTTP/2 and TLS",
        }
    }

    /// A client of HTTP/2 over this connection.
    pub(crate) fn framed(&self, socket: TcpStream) -> Result<Framed> {
        Framed::new(socket, self.tls.as_ref())
    }

    /// What nginx is told behind its address.
    pub(crate) fn of_nginx(&self) -> String {
        let http2 = if self.is_http2 { " http2" } else { "" };
        let Some(Certificate { certificate, key, .. }) = &self.tls else { return http2.to_owned() };
        let lines = [
            format!("ssl_certificate {}", certificate.display()),
            format!("ssl_certificate_key {}", key.display()),
            "ssl_protocols TLSv1.2 TLSv1.3".to_owned(),
        ];
        format!(" ssl{http2}; {}", lines.join("; "))
    }
}
