//! Apache Kafka, its tools, and the clients that people use with it.
//!
//! Each client has a program in `clients/` that is given a server, a prefix for the names of its
//! topics, the topic of [`write_shared`] and a list of features. It tries each, checks what came
//! of it with the client's own calls, and prints a line: `FEATURE yes`, `FEATURE no WHY`, or
//! `FEATURE cannot` where the client has no such call.
//!
//! Libraries come from Maven, PyPI, npm and crates.io at exact versions, once for each target
//! directory, and are installed nowhere else; kcat is Debian's package.

mod apache;
mod client;
mod feature;
mod page;
mod records;
mod tools;

pub use apache::{Apache, Broker};
pub use client::{Client, Ready};
pub use feature::{Answer, Feature};
pub use page::{Page, cell_of, column_of};
pub use records::{Batch, batches, codecs};
pub use tools::Tool;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// The codecs of record batches; the number of each is its place.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Writes a hundred records to a topic with one partition by kcat, twenty with each codec: what
/// every client is to read.
///
/// # Errors
///
/// `Other` if kcat fails, with what it says.
pub fn write_shared(server: SocketAddr, topic: &str) -> io::Result<()> {
    for codec in CODECS {
        let mut kcat = Command::new("kcat");
        kcat.args(["-P", "-q", "-b", &server.to_string(), "-t", topic, "-z", codec]);
        let lines: String = (0..20).map(|i| format!("{codec}-{i}\n")).collect();
        let mut child = kcat.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().expect("it is a pipe").write_all(lines.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("kcat -z {codec}: {message}")));
        }
    }
    Ok(())
}
