//! The PROXY header with which a connection begins that a proxy passes on.
//!
//! Not a byte more than it is read: what follows is HTTP, or a handshake of TLS.
//!
//! Source: HAProxy, doc/proxy-protocol.txt §2.

use std::io;
use std::net::SocketAddr;

use underpass_daemon::Admitted;
use underpass_daemon::proxy::{HEADER_MAX, parse};

use crate::connection::Shared;
use crate::handshake::refuse_unread;
use crate::transport::Transport;

const WANTED: &str = "400 Bad Request\nConnections from there begin with a PROXY header.\n";

/// Reads it, within the bounds of a handshake, and takes the client that it names for the peer.
/// Nothing, if the connection is over.
pub(crate) async fn take(
    mut transport: Transport,
    shared: &Shared,
    admitted: &mut Admitted,
) -> Option<Transport> {
    match shared.handshakes.within_bounds(read(&transport)).await? {
        Ok(Some(client)) => {
            let address = client.ip().to_canonical();
            transport.set_peer(SocketAddr::new(address, client.port()));
            // One more proxy may come before the client.
            let is_proxy = shared.site.proxies.speaks_for_others(Some(address));
            if !is_proxy && !admitted.count_as(address) {
                transport.reset_when_closed();
                return None;
            }
            Some(transport)
        }
        Ok(None) => Some(transport),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::debug!("{error}");
            refuse_unread(transport, WANTED, shared).await;
            None
        }
        Err(error) => {
            tracing::debug!("no PROXY header: {error}");
            None
        }
    }
}

/// The client that it names, if it names one.
async fn read(transport: &Transport) -> io::Result<Option<SocketAddr>> {
    let (mut bytes, mut room) = (Vec::new(), [0; HEADER_MAX]);
    loop {
        let n = transport.peek_some(&mut room).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = bytes.len();
        bytes.extend_from_slice(&room[..n]);
        match parse(&bytes) {
            Ok(Some(header)) => {
                transport.skip(&mut room[..header.len - before])?;
                return Ok(header.addresses.map(|addresses| addresses.source));
            }
            // All that has come is part of it.
            Ok(None) => transport.skip(&mut room[..n])?,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}
