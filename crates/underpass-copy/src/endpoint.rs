//! What a user can name as a source or a sink, and how it is spelled.
//!
//! A word with a scheme is never a path; a path that looks like one is written `./tcp://x`.
//!
//! Source: RFC 3986 §3 (schemes); socat(1) and nc(1), for what people expect.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use underpass_client::Url;
use underpass_daemon::host_port::{HostPort, HostPortError};

/// The schemes: what an end that is not a path begins with, before `://`.
const SCHEMES: [&str; 6] = ["tcp", "tcp-listen", "unix", "unix-listen", "http", "https"];

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A file, directory, FIFO or device.
    Path(PathBuf),
    /// `-`: standard input as a source, standard output as a sink.
    Standard,
    /// `fd:N`: a descriptor that was open when the process started.
    Descriptor(RawFd),
    /// `tcp://host:port`.
    Tcp(HostPort),
    /// `tcp-listen://address:port`: the first peer that connects.
    TcpListen(HostPort),
    /// `unix://path`; `unix://@name` for an abstract socket.
    Unix(PathBuf),
    /// `unix-listen://path`: the first peer that connects.
    UnixListen(PathBuf),
    /// `http://…` or `https://…`: GET as a source, PUT as a sink.
    Url(Url),
}

/// A word that is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing was written.
    #[error("an endpoint is empty; give a path, '-', or a scheme such as tcp://")]
    Empty,
    /// Not `host:port`.
    #[error(transparent)]
    Address(#[from] HostPortError),
    /// `*` where a connection is to be made.
    #[error("'{0}' is every address of this machine; give the one to connect to")]
    Every(HostPort),
    /// No number after `fd:`.
    #[error("'{0}' is not the number of a descriptor, such as fd:3")]
    Descriptor(String),
    /// No host, or a part that is not understood.
    #[error("'{url}' is not a URL that can be fetched: {why}")]
    Url {
        /// The word.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A scheme without `//`.
    #[error("'{word}' is a path; write {scheme}://… for that end, or ./{word} for a path")]
    Slashes {
        /// The word.
        word: String,
        /// What it begins with.
        scheme: &'static str,
    },
    /// An unknown scheme.
    #[error(
        "the scheme '{0}' is not known; use tcp, tcp-listen, unix, unix-listen, http, https or \
         fd:N, or write a path of that name as ./{0}:…"
    )]
    Scheme(String),
}

impl Endpoint {
    /// Reads one from a word of the command line.
    ///
    /// # Errors
    ///
    /// [`EndpointError`] if it has a scheme and what follows does not fit it.
    pub fn parse(word: &OsStr) -> Result<Self, EndpointError> {
        if word.is_empty() {
            return Err(EndpointError::Empty);
        }
        let Some(text) = word.to_str() else { return Ok(Self::Path(word.into())) };
        if text == "-" {
            return Ok(Self::Standard);
        }
        if let Some(number) = text.strip_prefix("fd:") {
            let number: RawFd = number
                .parse()
                .ok()
                .filter(|&n| n >= 0)
                .ok_or_else(|| EndpointError::Descriptor(text.to_owned()))?;
            return Ok(Self::Descriptor(number));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let begun = |scheme: &&str| {
                text.strip_prefix(*scheme).is_some_and(|rest| rest.starts_with(':'))
            };
            return match SCHEMES.into_iter().find(begun) {
                Some(scheme) => Err(EndpointError::Slashes { word: text.to_owned(), scheme }),
                None => Ok(Self::Path(text.into())),
            };
        };
        // RFC 3986 §3.1: schemes have no case.
        match scheme.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp(address(rest)?)),
            "tcp-listen" => Ok(Self::TcpListen(listening_address(rest)?)),
            "unix" | "unix-listen" if matches!(rest, "" | "@") => Err(EndpointError::Empty),
            "unix" => Ok(Self::Unix(rest.into())),
            "unix-listen" => Ok(Self::UnixListen(rest.into())),
            "http" | "https" => Url::parse(text)
                .map(Self::Url)
                .map_err(|why| EndpointError::Url { url: text.to_owned(), why }),
            _ if scheme.contains('/') => Ok(Self::Path(text.into())),
            _ => Err(EndpointError::Scheme(scheme.to_owned())),
        }
    }

    /// Whether peers come to this end.
    #[must_use]
    pub const fn is_listening(&self) -> bool {
        matches!(self, Self::TcpListen(_) | Self::UnixListen(_))
    }

    /// Whether this end is a TCP or Unix socket.
    #[must_use]
    pub const fn is_socket(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::TcpListen(_) | Self::Unix(_) | Self::UnixListen(_))
    }

    /// Its number, if it is a descriptor that is not open. Ask before the program opens anything:
    /// what it opens gets the lowest free number.
    #[must_use]
    pub fn closed_descriptor(&self) -> Option<RawFd> {
        let Self::Descriptor(number) = self else { return None };
        underpass_sys::descriptor::duplicate(*number).is_err().then_some(*number)
    }

    /// The last part of its name, for a sink that is a directory.
    #[must_use]
    pub fn file_name(&self) -> Option<&OsStr> {
        match self {
            Self::Path(path) => path.file_name(),
            Self::Url(url) => Path::new(url.path()).file_name(),
            Self::Standard | Self::Descriptor(_) => None,
            Self::Tcp(_) | Self::TcpListen(_) | Self::Unix(_) | Self::UnixListen(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Standard => f.write_str("-"),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::TcpListen(address) => write!(f, "tcp-listen://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::UnixListen(path) => write!(f, "unix-listen://{}", path.display()),
            Self::Url(url) => url.fmt(f),
        }
    }
}

fn address(text: &str) -> Result<HostPort, EndpointError> {
    let host: HostPort = text.parse()?;
    if host.is_every() { Err(EndpointError::Every(host)) } else { Ok(host) }
}

/// A port alone means 127.0.0.1, which only this machine can reach.
fn listening_address(text: &str) -> Result<HostPort, EndpointError> {
    let port = text.parse::<u16>().map(|port| format!("127.0.0.1:{port}"));
    Ok(port.as_deref().unwrap_or(text).parse()?)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn parse(word: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(OsStr::new(word))
    }

    fn host(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn each_endpoint_is_read_from_its_word_and_spelled_the_same() {
        for (word, endpoint) in [
            ("-", Endpoint::Standard),
            ("./-", Endpoint::Path("./-".into())),
            ("a:b", Endpoint::Path("a:b".into())),
            ("./tcp://x", Endpoint::Path("./tcp://x".into())),
            ("fd:3", Endpoint::Descriptor(3)),
            ("tcp://localhost:9000", Endpoint::Tcp(host("localhost:9000"))),
            ("tcp://[fe80::1%eth0]:9", Endpoint::Tcp(host("[fe80::1%eth0]:9"))),
            ("tcp-listen://[::1]:0", Endpoint::TcpListen(host("[::1]:0"))),
            ("tcp-listen://*:9", Endpoint::TcpListen(host("*:9"))),
            ("unix:///run/x", Endpoint::Unix("/run/x".into())),
            ("unix-listen://x", Endpoint::UnixListen("x".into())),
            ("unix-listen://@x", Endpoint::UnixListen("@x".into())),
        ] {
            assert_eq!(parse(word), Ok(endpoint), "{word}");
            assert_eq!(parse(word).unwrap().to_string(), word);
        }
        let port_alone = parse("tcp-listen://9000").unwrap();
        assert_eq!(port_alone, Endpoint::TcpListen(host("127.0.0.1:9000")));
    }

    #[test]
    fn what_is_not_an_endpoint_is_refused_by_name() {
        for (word, part) in [
            ("", "empty"),
            ("unix://", "empty"),
            ("tcp://9000", "'9000' is not host:port"),
            ("unix://@", "empty"),
            ("tcp://a:65536", "'a:65536' has no port of 0 to 65535 at its end"),
            ("tcp://*:9", "'*:9' is every address of this machine"),
            ("tcp://::1:9", "is not host:port"),
            ("tcp://:9", "is not host:port"),
            ("tcp://[::1:9", "is not host:port"),
            ("tcp://[zz]:9", "is not host:port"),
            ("tcp-listen://[::1]", "is not host:port"),
            ("http://[::1/x", "its address is not an IPv6 address in brackets"),
            ("http://::1:80/x", "its address is not an IPv6 address in brackets"),
            ("unix:/run/x", "write unix://… for that end, or ./unix:/run/x for a path"),
            ("tcp:a:9", "write tcp://…"),
            ("https:/a/b", "write https://…"),
            ("fd:-1", "'fd:-1' is not the number of a descriptor"),
            ("fd:x", "is not the number"),
            ("ftp://a/b", "the scheme 'ftp' is not known"),
            ("http:///x", "not a URL"),
        ] {
            assert!(parse(word).unwrap_err().to_string().contains(part), "{word}");
        }
    }
}
