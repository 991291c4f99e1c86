//! The content of an upload on its way to the disk: what has come is written by another thread,
//! while no more of it is read.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::time::timeout;

use super::place::Place;
use super::{Refusal, wait};

/// As much is written at once, unless nothing more is here.
const WRITE_BYTES: usize = 256 << 10;

/// pwritev(2): `IOV_MAX`.
const PIECES_MAX: usize = 1024;

/// How long a client may send nothing.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// Writes all of the content, of `bytes_max` at most.
pub(crate) async fn receive<B>(
    mut content: B,
    mut place: Place,
    bytes_max: u64,
) -> Result<Place, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut pieces, mut waiting, mut total) = (Vec::new(), 0, 0);
    loop {
        let next = poll_fn(|cx| Pin::new(&mut content).poll_frame(cx));
        let frame = match timeout(QUIET_MAX, next).await {
            Err(_) => return Err(Refusal::Stalled),
            Ok(Some(Err(_))) => return Err(Refusal::Incomplete),
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
        };
        let Ok(piece) = frame.into_data() else { continue };
        total += piece.len() as u64;
        if total > bytes_max {
            return Err(Refusal::TooLarge);
        }
        waiting += piece.len();
        pieces.push(piece);
        if waiting >= WRITE_BYTES || pieces.len() >= PIECES_MAX {
            (place, waiting) = (write(place, std::mem::take(&mut pieces)).await?, 0);
        }
    }
    if pieces.is_empty() { Ok(place) } else { write(place, pieces).await }
}

async fn write(mut place: Place, pieces: Vec<Bytes>) -> Result<Place, Refusal> {
    wait(move || place.write(&pieces).map(|()| place)).await
}

#[cfg(test)]
mod tests;
