//! What a measurement is of: the ends, what is between them, and the state of the page cache.

use std::fmt;

use serde::Serialize;

/// Where bytes come from and where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Pair {
    /// A file to a TCP socket.
    #[serde(rename = "file-tcp")]
    FileToTcp,
    /// A file to a Unix stream socket.
    #[serde(rename = "file-unix")]
    FileToUnix,
    /// A file to a pipe.
    #[serde(rename = "file-pipe")]
    FileToPipe,
    /// A file to a file of the same file system.
    #[serde(rename = "file-file")]
    FileToFile,
    /// A TCP socket to a TCP socket.
    #[serde(rename = "socket-socket")]
    SocketToSocket,
}

/// What TCP runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Link {
    /// The loopback device.
    #[serde(rename = "lo")]
    Loopback,
    /// A pair of virtual Ethernet devices between two network namespaces.
    #[serde(rename = "veth")]
    Veth,
    /// The same, with scatter-gather off at the sender.
    #[serde(rename = "veth-no-sg")]
    VethWithoutScatterGather,
}

/// The state of the page cache before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cache {
    /// Every page of the file is cached.
    Warm,
    /// None is.
    Cold,
}

impl Pair {
    /// Every pair, in the order of tables.
    pub const ALL: [Self; 5] = [
        Self::FileToTcp,
        Self::FileToUnix,
        Self::FileToPipe,
        Self::FileToFile,
        Self::SocketToSocket,
    ];

    /// The word for it, as flags and JSON spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FileToTcp => "file-tcp",
            Self::FileToUnix => "file-unix",
            Self::FileToPipe => "file-pipe",
            Self::FileToFile => "file-file",
            Self::SocketToSocket => "socket-socket",
        }
    }

    /// Whether a network is between its ends.
    pub(crate) const fn has_network(self) -> bool {
        matches!(self, Self::FileToTcp | Self::SocketToSocket)
    }
}

impl Link {
    /// Every link, in the order of tables.
    pub const ALL: [Self; 3] = [Self::Loopback, Self::Veth, Self::VethWithoutScatterGather];

    /// The word for it, as flags and JSON spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "lo",
            Self::Veth => "veth",
            Self::VethWithoutScatterGather => "veth-no-sg",
        }
    }
}

impl Cache {
    /// The word for it.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

/// `file → TCP over loopback`: the ends of a row, with what is between them.
pub(crate) fn ends(pair: Pair, link: Option<Link>) -> String {
    link.map_or_else(|| pair.to_string(), |link| format!("{pair} over {link}"))
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FileToTcp => "file → TCP",
            Self::FileToUnix => "file → Unix socket",
            Self::FileToPipe => "file → pipe",
            Self::FileToFile => "file → file",
            Self::SocketToSocket => "socket → socket",
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Loopback => "loopback",
            Self::Veth => "veth",
            Self::VethWithoutScatterGather => "veth without scatter-gather",
        })
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_spells_pairs_and_links_as_their_names() {
        for pair in Pair::ALL {
            assert_eq!(serde_json::to_value(pair).unwrap(), pair.name());
        }
        for link in Link::ALL {
            assert_eq!(serde_json::to_value(link).unwrap(), link.name());
        }
    }
}
