//! A round: writers under one condition, of which one may win.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use underpass::Source;
use underpass_client::{ClientError, Condition, Response};

use super::{LEN, Probe, ProbeError, UNDECIDED_MAX, padded};

/// Writers of a round.
const WRITERS: usize = 6;

/// What a writer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Won,
    Lost,
    /// That something failed, which may be before the write and after it.
    Nothing,
}

/// Whose content is there after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Of(usize),
    /// What was there before.
    Former,
}

impl Probe<'_> {
    /// One round, and whether there is one who won.
    pub(super) fn race(
        &mut self,
        path: &str,
        condition: &str,
        round: u32,
    ) -> Result<bool, ProbeError> {
        let former = self.read(path)?;
        let mark = format!("{round}.{}", self.undecided);
        let told = self.write_at_once(path, former.as_ref().map(|(_, tag)| tag.as_str()), &mark);
        let told = told.map_err(|error| self.unknown(&format!("it cannot be raced: {error}")))?;
        let (former, there) = (former.map(|(it, _)| it), self.read(path)?.map(|(it, _)| it));
        let of = (0..WRITERS).find(|&writer| there == Some(content(writer, &mark)));
        let there = match of {
            Some(writer) => There::Of(writer),
            None if there == former => There::Former,
            // A write of a round before, that failed, has landed now.
            None if self.undecided > 0 => return self.is_undecided(condition, round, &told),
            None => return Err(self.refused("what is there was put by no writer")),
        };
        match judge(&told, there) {
            Ok(true) => Ok(true),
            Ok(false) => self.is_undecided(condition, round, &told),
            Err(what) => Err(self.refused(&format!("{what} round {round} of {condition}"))),
        }
    }

    /// No one has won, which may be so a few times; it never says that one has.
    fn is_undecided(
        &mut self,
        condition: &str,
        round: u32,
        told: &[Told; WRITERS],
    ) -> Result<bool, ProbeError> {
        if self.undecided >= UNDECIDED_MAX {
            return Err(self.unknown(&format!(
                "none of six writers won round {round} of {condition}: {told:?}; try again"
            )));
        }
        self.undecided += 1;
        Ok(false)
    }

    /// All of them send half of their content, and when that has come, the rest.
    fn write_at_once(
        &self,
        path: &str,
        tag: Option<&str>,
        mark: &str,
    ) -> io::Result<[Told; WRITERS]> {
        let condition = tag.map_or(Condition::IfNoneMatch("*"), Condition::IfMatch);
        let pairs: Vec<_> = (0..WRITERS).map(|_| UnixStream::pair()).collect::<io::Result<_>>()?;
        let send = |from: usize, to: usize| {
            for (writer, (end, _)) in pairs.iter().enumerate() {
                (&*end).write_all(&content(writer, mark)[from..to])?;
            }
            io::Result::Ok(())
        };
        thread::scope(|scope| {
            let race = || {
                let (sender, said) = channel();
                for (writer, (_, from)) in pairs.iter().enumerate() {
                    let sender = sender.clone();
                    let write = move || {
                        let source = Source::stream(from).take(LEN as u64);
                        let put = self.bucket.put(path, source, condition, self.interrupt);
                        // Who asked is gone if a writer could not be made.
                        let _was_heard = sender.send((writer, told(&put))).is_ok();
                    };
                    thread::Builder::new().name("probe".to_owned()).spawn_scoped(scope, write)?;
                }
                drop(sender);
                send(0, LEN / 2)?;
                let mut all = [Told::Nothing; WRITERS];
                let until = Instant::now() + self.hold;
                let mut left = WRITERS;
                while left > 0 && take(&said, &mut all, Some(until)) {
                    left -= 1;
                }
                send(LEN / 2, LEN)?;
                while left > 0 && take(&said, &mut all, None) {
                    left -= 1;
                }
                Ok(all)
            };
            let raced = race();
            if raced.is_err() {
                // Those who wait for the rest wait no more.
                pairs.iter().for_each(|(end, _)| drop(end.shutdown(Shutdown::Both)));
            }
            raced
        })
    }
}

/// Takes what one of them was told, if that comes in time.
fn take(said: &Receiver<(usize, Told)>, all: &mut [Told; WRITERS], until: Option<Instant>) -> bool {
    let next = match until {
        Some(until) => said.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
        None => said.recv().ok(),
    };
    let Some((writer, told)) = next else { return false };
    all[writer] = told;
    true
}

/// What a writer of a round writes, which no other does.
fn content(writer: usize, mark: &str) -> Vec<u8> {
    padded(&format!("writer {writer} of round {mark}"))
}

fn told(put: &Result<Response<'_>, ClientError>) -> Told {
    match put.as_ref().map(|response| response.status) {
        Ok(200..300) => Told::Won,
        Ok(404 | 409 | 412) => Told::Lost,
        Ok(_) | Err(_) => Told::Nothing,
    }
}

/// Whether one has won, as far as can be told; an error says what must not be.
fn judge(told: &[Told; WRITERS], there: There) -> Result<bool, String> {
    let won: Vec<usize> = (0..WRITERS).filter(|&writer| told[writer] == Told::Won).collect();
    match (&won[..], there) {
        (&[winner], There::Of(writer)) if writer == winner => Ok(true),
        (&[_], There::Of(_)) => {
            Err("another than the one that won has its content there, in".into())
        }
        (&[_], There::Former) => Err("the content of the one that won is not there, in".into()),
        (&[], There::Former) => Ok(false),
        (&[], There::Of(writer)) if told[writer] == Told::Nothing => Ok(true),
        (&[], There::Of(_)) => Err("one that lost has its content there, in".into()),
        (many, _) => Err(format!("{} of {WRITERS} writers won", many.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::Told::{Lost, Nothing, Won};
    use super::*;

    #[test]
    fn one_writer_wins_and_its_content_is_there() {
        for (first, second, there, judged) in [
            (Won, Lost, There::Of(0), Ok(true)),
            (Won, Nothing, There::Of(0), Ok(true)),
            (Lost, Nothing, There::Of(1), Ok(true)),
            (Lost, Nothing, There::Former, Ok(false)),
            (Lost, Lost, There::Former, Ok(false)),
            (Won, Won, There::Of(1), Err("2 of 6 writers won")),
            (
                Won,
                Lost,
                There::Of(1),
                Err("another than the one that won has its content there, in"),
            ),
            (
                Won,
                Nothing,
                There::Of(1),
                Err("another than the one that won has its content there, in"),
            ),
            (Won, Lost, There::Former, Err("the content of the one that won is not there, in")),
            (Lost, Nothing, There::Of(0), Err("one that lost has its content there, in")),
        ] {
            let told = [first, second, Lost, Lost, Lost, Lost];
            let judged = judged.map_err(str::to_owned);
            assert_eq!(judge(&told, there), judged, "{told:?} {there:?}");
        }
    }
}
