//! Connects each client to a target, their bytes going by splice:
//! `cargo run -p underpass --example proxy -- ADDRESS TARGET`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it tells what it did")]

use std::error::Error;

use tokio::net::{TcpListener, TcpStream};
use underpass::copy_bidirectional;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listener = TcpListener::bind(arguments.next().ok_or("at which ADDRESS?")?).await?;
    let target = arguments.next().ok_or("to which TARGET?")?;
    loop {
        let (client, _) = listener.accept().await?;
        let target = target.clone();
        tokio::spawn(async move {
            if let Err(error) = proxy(client, &target).await {
                eprintln!("{error}");
            }
        });
    }
}

/// Copies both ways until both have ended.
pub(crate) async fn proxy(client: TcpStream, target: &str) -> std::io::Result<()> {
    let target = TcpStream::connect(target).await?;
    // Small messages go at once, as they came.
    client.set_nodelay(true)?;
    target.set_nodelay(true)?;
    let (sent, received) = copy_bidirectional(&client, &target).await?;
    println!("{sent} bytes to the target, {received} back");
    Ok(())
}
