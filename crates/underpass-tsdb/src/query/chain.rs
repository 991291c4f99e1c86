//! The samples of overlapping lanes in the order of time, one for each time.
//!
//! Of several with the same time one is taken: the one that Prometheus takes. It depends on which
//! lane the sample before was of, so the steps are those of Prometheus.
//!
//! Source: Prometheus, `storage/merge.go`, `chainSampleIterator.Next`.

use super::heap::Heap;
use super::lane::{Lane, Source};
use crate::sample::Samples;

/// Where several lanes are.
#[derive(Debug)]
pub(super) struct Chain {
    /// Lanes with a current sample, but for the one that is read.
    heap: Heap,
    current: Option<usize>,
    /// The time of the sample before.
    last: i64,
    is_begun: bool,
}

/// The next sample: the current one of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) lane: usize,
    /// Whether the sample before was of the same lane.
    pub(super) is_consecutive: bool,
}

impl Default for Chain {
    fn default() -> Self {
        Self { heap: Heap::default(), current: None, last: i64::MIN, is_begun: false }
    }
}

impl Chain {
    pub(super) fn next(
        &mut self,
        lanes: &mut [Lane],
        mut decode: impl FnMut(&Source, &mut Samples),
    ) -> Option<Next> {
        let mut is_consecutive = self.is_begun;
        if !self.is_begun {
            self.begin(lanes, &mut decode);
        }
        loop {
            let lane = self.current?;
            match lanes[lane].advance(&mut decode) {
                Some(time) if time == self.last => continue,
                Some(time) => {
                    let next = self.heap.first().and_then(|first| time_of(&lanes[first]));
                    if next.is_none_or(|next| time < next) {
                        self.last = time;
                        return Some(Next { lane, is_consecutive });
                    }
                    self.heap.push(lane, |a, b| time_of(&lanes[a]) < time_of(&lanes[b]));
                }
                None => {}
            }
            self.current = self.heap.pop(|a, b| time_of(&lanes[a]) < time_of(&lanes[b]));
            is_consecutive = false;
            let time = self.current.and_then(|lane| time_of(&lanes[lane]))?;
            if time != self.last {
                self.last = time;
                return self.current.map(|lane| Next { lane, is_consecutive });
            }
        }
    }

    fn begin(&mut self, lanes: &mut [Lane], decode: &mut impl FnMut(&Source, &mut Samples)) {
        self.is_begun = true;
        self.current = Some(0);
        for lane in 1..lanes.len() {
            if lanes[lane].advance(&mut *decode).is_some() {
                self.heap.push(lane, |a, b| time_of(&lanes[a]) < time_of(&lanes[b]));
            }
        }
    }
}

fn time_of(lane: &Lane) -> Option<i64> {
    lane.current.map(|current| current.time)
}
