//! What a measurement is of: the ends, what is between them, and the state of the page cache.

/// An enum whose values have two texts each: a word, as flags and JSON spell it, and what a
/// reader sees.
macro_rules! named {
    ($(#[$about:meta])* $sight:vis enum $name:ident {
        $($(#[$doc:meta])* $value:ident = $word:literal, $text:literal;)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $sight enum $name { $($(#[$doc])* #[doc = $text] $value,)* }

        impl $name {
            /// All of them, in the order of tables.
            $sight const ALL: [Self; [$($word),*].len()] = [$(Self::$value),*];

            /// The word for it, as flags and JSON spell it.
            #[must_use]
            $sight const fn name(self) -> &'static str {
                match self { $(Self::$value => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$value => $text,)* })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

pub(crate) use named;

named! {
    /// Where bytes come from and where they go.
    pub enum Pair {
        /// A file to a TCP socket.
        FileToTcp = "file-tcp", "file → TCP";
        /// A file to a Unix stream socket.
        FileToUnix = "file-unix", "file → Unix socket";
        /// A file to a pipe.
        FileToPipe = "file-pipe", "file → pipe";
        /// A file to a file of the same file system.
        FileToFile = "file-file", "file → file";
        /// A TCP socket to a TCP socket.
        SocketToSocket = "socket-socket", "socket → socket";
    }
}

named! {
    /// What TCP runs over.
    pub enum Link {
        /// The loopback device.
        Loopback = "lo", "loopback";
        /// A pair of virtual Ethernet devices between two network namespaces.
        Veth = "veth", "veth";
        /// The same, with scatter-gather off at the sender.
        VethWithoutScatterGather = "veth-no-sg", "veth without scatter-gather";
    }
}

named! {
    /// The state of the page cache before a run.
    pub(crate) enum Cache {
        /// Every page of the file is cached.
        Warm = "warm", "warm";
        /// None is.
        Cold = "cold", "cold";
    }
}

impl Pair {
    /// Whether a network is between its ends.
    pub(crate) const fn has_network(self) -> bool {
        matches!(self, Self::FileToTcp | Self::SocketToSocket)
    }
}

/// `file → TCP over loopback`: the ends of a row, with what is between them.
pub(crate) fn ends(pair: Pair, link: Option<Link>) -> String {
    link.map_or_else(|| pair.to_string(), |link| format!("{pair} over {link}"))
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
