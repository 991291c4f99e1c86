//! What the connections of one worker share.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use underpass_daemon::log::Lines;

use crate::end::{Ending, Ends};
use crate::settings::Settings;
use crate::tally::Tally;
use crate::targets::TargetSet;

/// What the connections of a worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) tally: Tally,
    pub(crate) targets: watch::Receiver<Arc<TargetSet>>,
    pub(crate) ends: Arc<Ends>,
    pub(crate) lines: RefCell<Lines>,
}

impl Worker {
    /// How a connection will have ended, which is counted.
    pub(crate) fn ending(&self) -> Ending {
        Ending::new(&self.ends)
    }

    pub(crate) fn is_logging(&self) -> bool {
        self.lines.borrow().is_on()
    }

    /// Adds a line to the log, after the time.
    pub(crate) fn write_line(&self, line: fmt::Arguments<'_>) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        self.lines.borrow_mut().add(|batch| {
            write!(batch, "time={now} {line}").expect("writing to memory does not fail");
        });
    }
}
