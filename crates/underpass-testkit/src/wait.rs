//! Waiting for a condition that nothing announces, with an end.
//!
//! For what has no descriptor to poll: another process's state, a port that starts to accept.
//! The pause only bounds the cost of asking; the condition, never the time, decides.

use std::time::{Duration, Instant};

/// How much longer a condition that must come may take on a busy machine.
const BUSY: u32 = 10;

/// Asks until the answer is `Some`, at most for `limit`.
///
/// Returns `None` if the limit passed first; the condition is asked at least once. A limit of
/// seconds means that the condition must come, and is ten times longer: it costs time only where a
/// test fails, and how fast a machine is says nothing of what it runs.
pub fn until<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let limit = if limit < Duration::from_secs(1) { limit } else { limit * BUSY };
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = condition() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Waits until a write would give a file another time than one that was written just before.
///
/// Before Linux 6.13 file times are taken from a clock that moves with the tick, every 1 to
/// 10 ms; two writes within a tick are told apart by nothing that fstat(2) says.
///
/// # Panics
///
/// If that clock stands still for a minute.
pub fn until_file_times_move() {
    let now = || rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    let start = now();
    let moved = until(Duration::from_secs(60), || (now() != start).then_some(()));
    moved.expect("the clock ticks");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_writes_with_the_wait_between_them_differ_in_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = || {
            std::fs::write(file.path(), "a").unwrap();
            file.as_file().metadata().unwrap().modified().unwrap()
        };
        let first = write();
        until_file_times_move();
        assert_ne!(write(), first);
    }

    #[test]
    fn a_condition_is_asked_until_it_holds_and_at_least_once() {
        let mut asked = 0;
        let mut third_time = || {
            asked += 1;
            (asked == 3).then_some(asked)
        };
        assert_eq!(until(Duration::from_secs(60), &mut third_time), Some(3));
        assert_eq!(until(Duration::ZERO, || Some(1)), Some(1));
        assert_eq!(until(Duration::ZERO, || None::<u8>), None);
    }
}
