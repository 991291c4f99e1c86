//! Content in h2's hands: shown to the wire when it is written, and counted when it was.

use std::rc::Rc;

use bytes::{Buf, Bytes};
use tokio::sync::OwnedSemaphorePermit;

use super::session::Response;

/// A piece of the content of a response.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    /// Its place among those that h2 holds of the connection.
    _place: Option<OwnedSemaphorePermit>,
    response: Rc<Response>,
}

impl Piece {
    pub(super) fn new(
        bytes: Bytes,
        place: Option<OwnedSemaphorePermit>,
        response: &Rc<Response>,
    ) -> Self {
        response.session().hold(bytes.len());
        Self { bytes, _place: place, response: Rc::clone(response) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.response.session().release(self.bytes.len());
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        self.response.session().show(&self.bytes);
        &self.bytes
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        self.response.session().release(bytes);
        let account = self.response.session().account(bytes);
        self.response.sending.borrow_mut().note(bytes as u64, &account);
    }
}
