//! A process that carries out one order, as the one that starts it sees it.
//!
//! Source: unix(7), `SOCK_SEQPACKET`; pipe(7).

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::channel;
use super::order::{Account, Order, Reply};

/// How this program is run again as one that carries out an order.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Default for Program {
    /// This program, with `measure-end`: what answers to it calls [`serve`](super::serve) with
    /// its standard input.
    fn default() -> Self {
        Self { path: "/proc/self/exe".into(), arguments: vec!["measure-end".into()] }
    }
}

/// Why a run gave nothing.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The method cannot do this here.
    Refused(String),
    /// Something else went wrong.
    Failed(io::Error),
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<RunError> for io::Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Refused(why) => Self::other(why),
            RunError::Failed(error) => error,
        }
    }
}

/// A process that carries out one order. Killed when dropped, but for one that keeps a group.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    channel: Option<OwnedFd>,
    /// A byte in this pipe says that it may begin.
    go: PipeWriter,
    /// What it prints where it ends without an answer.
    stderr: Option<File>,
    keeps: bool,
}

impl Worker {
    /// Starts one, gives it its order and waits until it is ready to begin.
    pub(crate) fn ready(
        program: &Program,
        order: &Order,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Self, RunError> {
        let worker = Self::start(program, order, descriptors)?;
        worker.is_ready().map(|()| worker)
    }

    pub(super) fn start(
        program: &Program,
        order: &Order,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<Self> {
        let (channel, its_own) = channel::pair()?;
        let (its_go, go) = io::pipe()?;
        let keeps = matches!(order, Order::Keep(_));
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .stdin(its_own)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if keeps {
            // Ctrl-C must not end it before it has removed what it keeps.
            command.process_group(0);
        }
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().map(|stderr| File::from(OwnedFd::from(stderr)));
        let worker = Self { child, channel: Some(channel), go, stderr, keeps };
        // Where it takes no order, dropping it ends it.
        worker.said(channel::send(
            worker.channel()?,
            order,
            &[&[its_go.as_fd()], descriptors].concat(),
        ))?;
        Ok(worker)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn go(&self) -> io::Result<()> {
        self.said((&self.go).write_all(b"!"))
    }

    pub(super) fn is_ready(&self) -> Result<(), RunError> {
        match self.reply()? {
            None => Ok(()),
            Some(_) => Err(io::Error::other("a process was done before it began").into()),
        }
    }

    /// Waits until it is done, and has ended: what it calls at its end is always the same.
    pub(crate) fn account(mut self) -> Result<Account, RunError> {
        let account = self.reply()?;
        self.child.wait()?;
        account.ok_or_else(|| io::Error::other("a process was ready twice").into())
    }

    fn channel(&self) -> io::Result<&OwnedFd> {
        self.channel.as_ref().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Its next answer: that it is ready, or what its order cost.
    fn reply(&self) -> Result<Option<Account>, RunError> {
        match channel::receive(self.channel()?)? {
            Some((Reply::Ready, _)) => Ok(None),
            Some((Reply::Done(account), _)) => Ok(Some(*account)),
            Some((Reply::Refused(why), _)) => Err(RunError::Refused(why)),
            Some((Reply::Failed(why), _)) => Err(io::Error::other(why).into()),
            None => Ok(self.said(Err(io::ErrorKind::UnexpectedEof.into()))?),
        }
    }

    /// An answer; where it is that the process is gone, what that printed before.
    fn said<T>(&self, answer: io::Result<T>) -> io::Result<T> {
        let gone = [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe];
        answer.map_err(|error| {
            if !gone.contains(&error.kind()) {
                return error;
            }
            let mut words = String::new();
            let read = self.stderr.as_ref().map(|mut stderr| stderr.read_to_string(&mut words));
            let line = words.lines().next().filter(|_| matches!(read, Some(Ok(_))));
            let line = line.unwrap_or("it said nothing");
            io::Error::other(format!("a process that carries out an order ended: {line}"))
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do about it.
        if self.keeps {
            self.channel = None;
        } else {
            self.child.kill().unwrap_or_default();
        }
        self.child.wait().map(drop).unwrap_or_default();
    }
}
