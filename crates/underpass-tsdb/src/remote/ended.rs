//! What is noted of a request when its answer has ended, however that was.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::tally::Tally;
use super::turn::Turn;
use super::worker::Worker;

/// A request under way.
#[derive(Debug)]
pub(super) struct Ended {
    worker: Rc<Worker>,
    turn: Rc<Turn>,
    client: Option<SocketAddr>,
    /// Method and path; clients may write anything there.
    request: String,
    since: Instant,
    pub(super) status: StatusCode,
    /// The form of the answer.
    pub(super) form: &'static str,
    pub(super) tally: Arc<Tally>,
    pub(super) bytes: u64,
    pub(super) is_whole: bool,
}

impl Ended {
    pub(super) fn new(
        worker: &Rc<Worker>,
        turn: &Rc<Turn>,
        client: Option<SocketAddr>,
        request: String,
    ) -> Self {
        turn.begin(worker);
        let (tally, bytes, is_whole) = Default::default();
        Self {
            worker: Rc::clone(worker),
            turn: Rc::clone(turn),
            client,
            request,
            since: Instant::now(),
            status: StatusCode::OK,
            form: "text",
            tally,
            bytes,
            is_whole,
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let Self { worker, client, request, since, status, form, tally, bytes, is_whole, .. } =
            self;
        self.turn.answered();
        worker.shared.counts.add(*status, *bytes, *is_whole);
        worker.shared.counts.all.absorb(tally);
        let client = client.map_or_else(|| "-".into(), |client| client.to_string());
        worker.write_line(format_args!(
            "client={client} request={request:?} status={} form={form} end={} seconds={:.3} \
             series={} bytes={bytes}",
            status.as_str(),
            if *is_whole { "whole" } else { "cut" },
            since.elapsed().as_secs_f64(),
            tally.series(),
        ));
    }
}
