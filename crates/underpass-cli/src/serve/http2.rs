//! How HTTP/2 is spoken.

use std::num::NonZeroU32;

use clap::{Args, ValueEnum};
use underpass_serve::Http2Options;

/// The flags about HTTP/2.
#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP/2")]
pub(crate) struct Http2Arguments {
    /// Whether HTTP/2 is spoken with clients that ask for it: on or off.
    ///
    /// Over TLS clients choose it by ALPN, and in the clear by beginning with its preface, as
    /// curl --http2-prior-knowledge does. HTTP/1.1 is spoken with all others.
    #[arg(long, value_name = "WHEN", default_value = "on", hide_possible_values = true)]
    http2: Http2,

    /// How many requests of one HTTP/2 connection may be under way at a time.
    #[arg(long, value_name = "N", default_value_t = Http2Options::STREAMS_MAX)]
    http2_max_streams: NonZeroU32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Http2 {
    On,
    Off,
}

impl Http2Arguments {
    /// How it is spoken, if it is.
    pub(super) fn options(&self) -> Option<Http2Options> {
        let streams_max = self.http2_max_streams;
        (self.http2 == Http2::On).then_some(Http2Options { streams_max })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Arguments, Command};

    fn streams(words: &[&str]) -> Option<Option<u32>> {
        let words = [&["underpass", "serve"], words].concat();
        let Command::Serve(wanted) = Arguments::try_parse_from(words).ok()?.command else {
            panic!("the command is serve");
        };
        Some(wanted.0.http2.options().map(|options| options.streams_max.get()))
    }

    #[test]
    fn http_2_is_on_unless_it_is_off() {
        assert_eq!(streams(&[]), Some(Some(128)));
        assert_eq!(streams(&["--http2", "on", "--http2-max-streams", "7"]), Some(Some(7)));
        assert_eq!(streams(&["--http2=off"]), Some(None));
        assert_eq!(streams(&["--http2-max-streams", "0"]), None);
        assert_eq!(streams(&["--http2", "yes"]), None);
    }
}
