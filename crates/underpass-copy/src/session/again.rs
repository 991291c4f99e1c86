//! Sends a file again: to where a server redirects, or after the server has failed. A stream cannot
//! be sent again.
//!
//! Source: RFC 9110 §9.2.2 (PUT is idempotent), §15.4.

use underpass_client::REDIRECTS_MAX;

use super::{Outcome, Session};
use crate::asking::{Attempts, may_pass, wish};
use crate::drive::Drive;
use crate::endpoint::Endpoint;
use crate::error::CopyError;
use crate::exchange::group::Peer;

impl Session {
    pub(super) fn attempts(
        &self,
        drive: &mut Drive<'_>,
        outcome: &mut Outcome,
        peer: &mut Option<Peer>,
    ) -> Result<(), CopyError> {
        let (mut redirects, mut attempts) = (0, Attempts::new(&self.request.client, 0));
        loop {
            match self.attempt(drive, outcome, peer) {
                Err(CopyError::Redirect { to, .. })
                    if redirects < REDIRECTS_MAX && self.is_file_to_server() =>
                {
                    redirects += 1;
                    outcome.put_to = Some(*to);
                }
                Err(error)
                    if may_pass(&error)
                        && self.is_file_to_server()
                        && attempts.again(&error, wish(&error), drive) => {}
                answer => return answer,
            }
            drive.done = 0;
        }
    }

    fn is_file_to_server(&self) -> bool {
        let ends = (&self.request.source, &self.request.sink);
        matches!(ends, (Endpoint::Path(path), Endpoint::Url(_)) if path.is_file())
    }
}
