//! Peers that send a file in one of seven ways, or receive it: separate programs, told step by
//! step what to do.
//!
//! Their source is C and knows nothing of this workspace: what it does is what the man pages
//! say, and so the kernel's answer to it is what our own code is measured against. A step that
//! is begun on one peer is waited for only when its end is asked for, so that a sender and a
//! receiver can run at once. A peer ends with its fixture, and with the thread that started it.
//!
//! Source: the head of the program's source; Documentation/networking/msg_zerocopy.rst.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::compiled::Program;
use crate::network::End;

/// A way of sending a file to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// read(2) into a buffer, write(2) from it.
    ReadWrite,
    /// write(2) from a mapping of the file.
    MappedWrite,
    /// sendfile(2).
    Sendfile,
    /// splice(2) into a pipe, and on into the socket.
    Splice,
    /// vmsplice(2) of a mapping into a pipe, and splice(2) on into the socket.
    MappedSplice,
    /// send(2) with `MSG_ZEROCOPY` from anonymous memory that the file was read into.
    ZeroCopy,
    /// send(2) with `MSG_ZEROCOPY` from a mapping of the file.
    MappedZeroCopy,
}

impl Sending {
    /// Every way, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::ReadWrite,
        Self::MappedWrite,
        Self::Sendfile,
        Self::Splice,
        Self::MappedSplice,
        Self::ZeroCopy,
        Self::MappedZeroCopy,
    ];

    /// Its short name, as the program spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadWrite => "rw",
            Self::MappedWrite => "mw",
            Self::Sendfile => "sf",
            Self::Splice => "sp",
            Self::MappedSplice => "vm",
            Self::ZeroCopy => "zc",
            Self::MappedZeroCopy => "zcm",
        }
    }
}

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is sent: `times` times a header that is written with `MSG_MORE`, then the beginning of
/// the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bytes asked of one call for the body.
    pub call_bytes: u64,
    /// Bytes of the header, at most 65,536.
    pub header_bytes: u64,
    /// Bytes from the file's beginning.
    pub body_bytes: u64,
    /// How often.
    pub times: u64,
}

impl Load {
    /// The first `bytes` of a file, once and without a header, 64 KiB a call.
    #[must_use]
    pub const fn whole(bytes: u64) -> Self {
        Self { call_bytes: 65_536, header_bytes: 0, body_bytes: bytes, times: 1 }
    }

    /// Everything: headers and bodies.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.times * (self.header_bytes + self.body_bytes)
    }
}

/// What a receiver does with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiving {
    /// recv(2) into a buffer, each byte compared with what it must be.
    Copy,
    /// recv(2) with `MSG_TRUNC`: discarded without a copy, tcp(7).
    Truncate,
}

/// What a sender did, as it counted itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bytes that were sent and acknowledged.
    pub bytes: u64,
    /// Of the connection so far, `tcpi_bytes_retrans`.
    pub retransmitted_bytes: u64,
    /// Calls with `MSG_ZEROCOPY`, all of which have completed.
    pub zero_copy_sends: u64,
    /// Those whose completion says that the kernel copied after all.
    pub copied_sends: u64,
}

/// A connected socket of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its inode.
    pub inode: u64,
    /// Its own port.
    pub port: u16,
    /// The kernel's address of it, hashed: equal exactly if the address is. `None` from kernels
    /// that do not show it.
    pub address_hash: Option<String>,
}

/// A running peer.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts the program at one end of a link.
    ///
    /// # Errors
    ///
    /// Those of starting it.
    pub fn start(program: &Program, end: &End) -> io::Result<Self> {
        Self::spawn(end.command(program.path()))
    }

    /// Starts the program with a connected socket that it shares with other processes.
    ///
    /// # Errors
    ///
    /// Those of starting it, and of an unconnected socket.
    pub fn share(program: &Program, socket: OwnedFd) -> io::Result<(Self, Connection)> {
        let mut command = Command::new(program.path());
        // Of the descriptors that a child can be given, the one that the program does not use.
        command.stderr(socket);
        let mut peer = Self::spawn(command)?;
        let connection = peer.connection("adopt")?;
        Ok((peer, connection))
    }

    /// Starts what becomes the program.
    ///
    /// # Errors
    ///
    /// Those of starting it.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let taken = child.stdin.take().zip(child.stdout.take());
        let (input, output) = taken.expect("both were asked to be pipes");
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Listens at an address of its end, at a port of the kernel's choice.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn listen(&mut self, end: &End) -> io::Result<SocketAddr> {
        self.tell(&format!("listen {}", end.address()))?;
        let [port] = self.answer("listening")?;
        let port = u16::try_from(port).map_err(io::Error::other)?;
        Ok(SocketAddrV4::new(end.address(), port).into())
    }

    /// Takes a connection that is there or comes.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn accept(&mut self) -> io::Result<Connection> {
        self.connection("accept")
    }

    /// Connects, with cubic as congestion control and `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn connect(&mut self, to: SocketAddr) -> io::Result<Connection> {
        self.connection(&format!("connect {} {}", to.ip(), to.port()))
    }

    /// Has the kernel encrypt what is sent from now on: TLS 1.3, with a key that every peer knows.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn encrypt(&mut self) -> io::Result<()> {
        self.tell("encrypt")?;
        self.answer("encrypted").map(|[]| ())
    }

    /// Has the kernel decrypt what is received from now on.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn decrypt(&mut self) -> io::Result<()> {
        self.tell("decrypt")?;
        self.answer("decrypted").map(|[]| ())
    }

    /// Begins to send; [`Peer::sent`] waits for the end.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    pub fn begin_sending(&mut self, way: Sending, file: &Path, load: &Load) -> io::Result<()> {
        let Load { call_bytes, header_bytes, body_bytes, times } = load;
        let file = file.display();
        self.tell(&format!("send {way} {call_bytes} {header_bytes} {body_bytes} {times} {file}"))
    }

    /// Begins to give, `times` times, a header and the whole of each file by one writev(2), the
    /// files mapped anew each time, as something to be executed or not; [`Peer::sent`] waits for
    /// the end. The paths hold no blank.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    pub fn begin_gathering(
        &mut self,
        (header_bytes, times): (u64, u64),
        is_executable: bool,
        files: &[&Path],
    ) -> io::Result<()> {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let protection = if is_executable { 'x' } else { 'r' };
        self.tell(&format!("gather {header_bytes} {times} {protection} {}", files.join(" ")))
    }

    /// Begins to give `pieces` bytes by one writev(2), turn by turn its memory's and a mapping's of
    /// the file; [`Peer::sent`] waits for the end.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    pub fn begin_scattering(&mut self, pieces: u64, file: &Path) -> io::Result<()> {
        self.tell(&format!("scatter {pieces} {}", file.display()))
    }

    /// Has it ask itself by UDP and make an io_uring.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn be_noisy(&mut self) -> io::Result<()> {
        self.tell("noise")?;
        self.answer("noisy").map(|[]| ())
    }

    /// Has it read a file of at most 1 MiB into memory.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn load(&mut self, file: &Path) -> io::Result<u64> {
        self.tell(&format!("load {}", file.display()))?;
        self.answer("loaded").map(|[bytes]| bytes)
    }

    /// Begins to read a file of at most 1 MiB, to wait for a byte and to send the file from memory;
    /// [`Peer::sent`] waits for the end.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    pub fn begin_replying(&mut self, file: &Path) -> io::Result<()> {
        self.tell(&format!("reply {}", file.display()))
    }

    /// Begins to make children, one after the other, each of which reads the file and has two
    /// threads send a byte at once; [`Peer::sent`] waits for the end.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    pub fn begin_race(&mut self, children: u64, file: &Path) -> io::Result<()> {
        self.tell(&format!("race {children} {}", file.display()))
    }

    /// Begins to give bytes by operations of an io_uring; [`Peer::sent`] waits for the end. The
    /// ring stays.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    pub fn begin_ring(&mut self, bytes: u64) -> io::Result<()> {
        self.tell(&format!("ring {bytes}"))
    }

    /// Has a second thread map and unmap memory until the peer ends.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn churn(&mut self) -> io::Result<()> {
        self.tell("churn")?;
        self.answer("churning").map(|[]| ())
    }

    /// Waits until all is acknowledged and every completion has come.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn sent(&mut self) -> io::Result<Sent> {
        let [bytes, retransmitted_bytes, zero_copy_sends, copied_sends] = self.answer("sent")?;
        Ok(Sent { bytes, retransmitted_bytes, zero_copy_sends, copied_sends })
    }

    /// Begins to receive a load; [`Peer::received`] waits for the end.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    pub fn begin_receiving(&mut self, how: Receiving, load: &Load) -> io::Result<()> {
        let Load { header_bytes, body_bytes, times, .. } = load;
        let how = match how {
            Receiving::Copy => "copy",
            Receiving::Truncate => "truncate",
        };
        self.tell(&format!("receive {how} {header_bytes} {body_bytes} {times}"))
    }

    /// Waits until the load is there, and returns its bytes.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong, such as the first byte that is not what it must be.
    pub fn received(&mut self) -> io::Result<u64> {
        self.answer("received").map(|[bytes]| bytes)
    }

    /// Has it ask for its number as a 32-bit process would: the number, or less than zero where
    /// the kernel has no such calls.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    pub fn ask_as_32_bit(&mut self) -> io::Result<i64> {
        self.tell("compat")?;
        self.line("compat")?.parse().map_err(io::Error::other)
    }

    /// Has it send no more, whatever it is told.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn shut(&mut self) -> io::Result<()> {
        self.tell("shut")?;
        self.answer("shut").map(|[]| ())
    }

    /// Closes the connection.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong.
    pub fn close(&mut self) -> io::Result<()> {
        self.tell("close")?;
        self.answer("closed").map(|[]| ())
    }

    /// Waits until the other end has closed, and nothing more has come.
    ///
    /// # Errors
    ///
    /// What the peer says went wrong, such as a byte too many.
    pub fn ended(&mut self) -> io::Result<()> {
        self.tell("ended")?;
        self.answer("ended").map(|[]| ())
    }

    fn connection(&mut self, step: &str) -> io::Result<Connection> {
        self.tell(step)?;
        let line = self.line("connected")?;
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let inode = next().parse().map_err(io::Error::other)?;
        let port = next().parse().map_err(io::Error::other)?;
        let hash = next();
        let address_hash = (!hash.is_empty() && hash != "?").then(|| hash.to_owned());
        Ok(Connection { inode, port, address_hash })
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        self.input.write_all(line.as_bytes())?;
        self.input.write_all(b"\n")
    }

    /// The numbers of an answer that begins with this word.
    fn answer<const N: usize>(&mut self, word: &str) -> io::Result<[u64; N]> {
        let line = self.line(word)?;
        let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>();
        let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
        numbers.ok_or_else(|| io::Error::other(format!("the peer said: {word} {line}")))
    }

    /// The rest of an answer that begins with this word.
    fn line(&mut self, word: &str) -> io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            return Err(io::Error::other(format!("the peer ended instead of {word}: {status}")));
        }
        let line = line.trim_end();
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim_start().to_owned()),
            None => Err(io::Error::other(format!("the peer said: {line}"))),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; here it only has to be gone.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
