//! Receives what one peer sends until it ends into a file, by splice:
//! `cargo run -p underpass --example receive_file -- ADDRESS FILE`.
#![expect(clippy::print_stdout, reason = "it tells what it did")]

use std::error::Error;
use std::fs::File;

use tokio::net::{TcpListener, TcpStream};
use underpass::receive_file;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listener = TcpListener::bind(arguments.next().ok_or("at which ADDRESS?")?).await?;
    let file = File::create(arguments.next().ok_or("to which FILE?")?)?;
    let (socket, _) = listener.accept().await?;
    receive(&socket, &file).await
}

/// Receives everything and says what that took.
pub(crate) async fn receive(socket: &TcpStream, file: &File) -> Result<(), Box<dyn Error>> {
    let ledger = receive_file(socket, file, ..).await?;
    println!("{ledger}");
    Ok(())
}
