//! Sends a file to whom it connects to, by sendfile:
//! `cargo run -p underpass --example send_file -- FILE ADDRESS`.
#![expect(clippy::print_stdout, reason = "it tells what it did")]

use std::error::Error;
use std::fs::File;

use tokio::net::TcpStream;
use underpass::send_file;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let socket = TcpStream::connect(arguments.next().ok_or("to which ADDRESS?")?).await?;
    send(&file, &socket).await
}

/// Sends the whole file and says what that took.
pub(crate) async fn send(file: &File, socket: &TcpStream) -> Result<(), Box<dyn Error>> {
    let ledger = send_file(file, .., socket).await?;
    println!("{ledger}");
    Ok(())
}
