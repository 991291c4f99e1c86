//! Leader epochs: which leader wrote from which offset on.
//!
//! ```text
//! 0                 the version of the format
//! 2                 how many follow
//! 0 0               an epoch, and the offset at which it starts
//! 3 1200
//! ```
//!
//! Source: `LeaderEpochCheckpointFile.java`, `LeaderEpochFileCache.java`; KIP-101, KIP-320.

use std::fmt::Write as _;

/// The file that they are in.
pub(super) const FILE: &str = "leader-epoch-checkpoint";

/// Epochs that are kept: one a start after a crash, and the oldest are forgotten first.
const EPOCHS_MAX: usize = 10_000;

/// An epoch and the offset at which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) epoch: i32,
    pub(super) start: i64,
}

/// The epochs of a log, both numbers rising.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<Epoch>);

/// What is wrong with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EpochsFault {
    #[error("line {0} is not what Kafka writes there")]
    Line(usize),
    #[error("it names {named} epochs and has {found}")]
    Count { named: usize, found: usize },
    #[error("the epoch in line {0} is not behind the one before")]
    Order(usize),
}

impl Epochs {
    /// Notes that `epoch` starts at `start`, unless it or a later one has started. Whether it did.
    pub(super) fn begin(&mut self, epoch: i32, start: i64) -> bool {
        if self.0.last().is_some_and(|last| last.epoch >= epoch) {
            return false;
        }
        // An epoch in which nothing was written has no offsets.
        self.truncate(start);
        if self.0.len() == EPOCHS_MAX {
            self.0.remove(0);
        }
        self.0.push(Epoch { epoch, start });
        true
    }

    /// Forgets epochs that start at `end` or later.
    pub(super) fn truncate(&mut self, end: i64) {
        self.0.retain(|epoch| epoch.start < end);
    }

    /// The latest epoch.
    pub(super) fn latest(&self) -> Option<i32> {
        self.0.last().map(|last| last.epoch)
    }

    /// The largest epoch up to `epoch`, and the offset at which it ends in a log that ends at
    /// `end`; `None` if `epoch` is later than all, or there are none.
    pub(super) fn end_of(&self, epoch: i32, end: i64) -> Option<(i32, i64)> {
        if epoch < 0 {
            return None;
        }
        let behind = self.0.partition_point(|known| known.epoch <= epoch);
        let floor = behind.checked_sub(1).map(|at| self.0[at].epoch);
        match (floor, self.0.get(behind)) {
            (_, Some(next)) => Some((floor.unwrap_or(epoch), next.start)),
            (Some(latest), None) if latest == epoch => Some((epoch, end)),
            (_, None) => None,
        }
    }

    /// The epoch that wrote `offset`.
    pub(super) fn at(&self, offset: i64) -> Option<i32> {
        let behind = self.0.partition_point(|epoch| epoch.start <= offset);
        behind.checked_sub(1).map(|at| self.0[at].epoch)
    }

    /// The bytes of the file.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.0.len());
        for Epoch { epoch, start } in &self.0 {
            writeln!(text, "{epoch} {start}").expect("a string takes all that is written");
        }
        text
    }

    /// Reads the bytes of the file.
    pub(super) fn decode(text: &str) -> Result<Self, EpochsFault> {
        let mut lines = text.lines().zip(1..);
        let mut line = |number| lines.next().ok_or(EpochsFault::Line(number));
        if line(1)?.0.trim() != "0" {
            return Err(EpochsFault::Line(1));
        }
        let named: usize = line(2)?.0.trim().parse().map_err(|_| EpochsFault::Line(2))?;
        let mut epochs = Self::default();
        for (line, number) in lines {
            let (epoch, start) = pair(line).ok_or(EpochsFault::Line(number))?;
            if epochs.0.last().is_some_and(|last| last.epoch >= epoch || last.start > start) {
                return Err(EpochsFault::Order(number));
            }
            epochs.0.push(Epoch { epoch, start });
        }
        let found = epochs.0.len();
        if found == named { Ok(epochs) } else { Err(EpochsFault::Count { named, found }) }
    }
}

fn pair(line: &str) -> Option<(i32, i64)> {
    let (epoch, start) = line.split_once(' ')?;
    Some((epoch.parse().ok()?, start.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the format of Kafka's `LeaderEpochCheckpointFile`.
    const TEXT: &str = "0\n2\n0 0\n3 1200\n";

    fn two() -> Epochs {
        Epochs(vec![Epoch { epoch: 0, start: 0 }, Epoch { epoch: 3, start: 1200 }])
    }

    #[test]
    fn the_file_is_kafkas() {
        assert_eq!((two().encode().as_str(), Epochs::decode(TEXT)), (TEXT, Ok(two())));
        assert_eq!(Epochs::decode("0\n0\n"), Ok(Epochs::default()));
    }

    #[test]
    fn what_is_not_a_file_of_epochs_is_refused_with_its_line() {
        use EpochsFault::{Count, Line, Order};
        let cases = [
            ("", Line(1)),
            ("1\n0\n", Line(1)),
            ("0\n", Line(2)),
            ("0\nx\n", Line(2)),
            ("0\n1\n5\n", Line(3)),
            ("0\n1\n5 x\n", Line(3)),
            ("0\n2\n0 0\n", Count { named: 2, found: 1 }),
            ("0\n2\n1 0\n1 5\n", Order(4)),
            ("0\n2\n1 9\n2 5\n", Order(4)),
        ];
        for (text, fault) in cases {
            assert_eq!(Epochs::decode(text), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn an_epoch_ends_where_the_next_starts() {
        let ends = [-1, 0, 2, 3, 4].map(|epoch| two().end_of(epoch, 1500));
        let last = Some((3, 1500));
        assert_eq!(ends, [None, Some((0, 1200)), Some((0, 1200)), last, None]);
        assert_eq!(Epochs::default().end_of(0, 7), None);
    }

    #[test]
    fn an_epoch_in_which_nothing_was_written_is_forgotten() {
        let mut epochs = two();
        assert!(epochs.begin(4, 1200));
        assert_eq!(epochs.encode(), "0\n2\n0 0\n4 1200\n");
        assert!(!epochs.begin(4, 1300) && !epochs.begin(3, 1300));
        epochs.truncate(1200);
        assert_eq!((epochs.encode().as_str(), epochs.latest()), ("0\n1\n0 0\n", Some(0)));
        assert_eq!([0, 5000].map(|offset| two().at(offset)), [Some(0), Some(3)]);
    }
}
