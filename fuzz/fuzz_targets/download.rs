//! Downloads from a server that answers whatever the input says: a file gets its name only if it is
//! what hyper's client reads too, and nothing else is left of one that is not.
//!
//! Input: `g` (everything), `r` (bytes 2 to 5), `s` (twice with `--resume`), `p` (three
//! connections) or `u` (a PUT), then the answers, one a connection, with [`BETWEEN`] before each.
#![no_main]

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use underpass_client::fuzzing;
use underpass_copy::{Endpoint, Interrupt, Request, Session, Timeouts};
use underpass_fuzz::{hyper_reads, ignore_closed_pipes, place};

const BETWEEN: &[u8] = b"\n====\n";

/// How long the client waits for what does not come.
const PATIENCE: Duration = Duration::from_millis(25);

/// The range of `r`.
const RANGE: std::ops::Range<usize> = 2..6;

fuzz_target!(|input: &[u8]| {
    // No other server is asked.
    if input.windows(2).any(|two| two == b"//") {
        return;
    }
    let mut parts = split(input);
    let &[mode @ (b'g' | b'r' | b's' | b'p' | b'u')] = parts.remove(0) else { return };
    set_up();
    let file = place("folder/file");
    let server = Server::new(parts);
    let download = || server.serving(|| copy(mode, server.port()));
    // What is there already may be kept, or become the part that is continued.
    let was_copied = mode == b's' && download();
    let copied = download();
    if mode == b'u' {
        return;
    }
    let has_name = file.exists();
    assert!(has_name || !copied, "a file that is whole has no name");
    assert!(copied || !has_name || was_copied, "a file has its name and is not whole");
    if copied && matches!(mode, b'g' | b'r') {
        check(mode, &fs::read(&file).expect("a file"), server.last_answer());
    }
    let folder = fs::read_dir(place("folder")).expect("a folder");
    for entry in folder {
        let path = entry.expect("an entry").path();
        assert!(path == file || mode == b's' || mode == b'p', "{} is left", path.display());
        fs::remove_file(path).expect("it is removed");
    }
});

fn split(input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|word| word == BETWEEN) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

/// Whether the copy succeeded.
fn copy(mode: u8, port: u16) -> bool {
    let url = Endpoint::parse(format!("http://127.0.0.1:{port}/x").as_ref()).expect("a URL");
    let mut request = match mode {
        b'u' => Request::new(Endpoint::Path(place("source")), url),
        _ => Request::new(url, Endpoint::Path(place("folder/file"))),
    };
    match mode {
        b'r' => request.range = "2-5".parse().expect("a range"),
        b's' => request.resume = true,
        b'p' => request.parallel = 3.try_into().expect("not 0"),
        _ => {}
    }
    request.timeouts = Timeouts { idle: Some(PATIENCE), connect: Some(PATIENCE) };
    let interrupt = Interrupt::never().expect("a socket pair");
    let session = Session::open(request, &interrupt, &mut |_| {});
    session.is_ok_and(|session| session.copy(&mut |_| {}).is_ok())
}

/// What arrived is what hyper has of the same answer.
fn check(mode: u8, content: &[u8], answer: &[u8]) {
    let Some((status, other)) = hyper_reads(answer) else { return };
    match (mode, status) {
        (b'r', 200 | 203) => {
            assert_eq!(content, other.get(RANGE).unwrap_or(other.get(2..).unwrap_or_default()))
        }
        (b'g', 206) => {
            let (first, last, total) = part(answer);
            assert_eq!((first, total), (0, Some(last + 1)), "a part is a whole file");
            // What comes after its own end is left out.
            assert_eq!((content.len() as u64, other.starts_with(content)), (last + 1, true));
        }
        (b'r', 206) => check_part(content, answer, &other),
        (_, 200 | 203) => assert_eq!(content, other),
        // The range begins where the representation ends.
        (b'r', 416) => assert_eq!(content, b""),
        _ => panic!("a file of an answer {status}"),
    }
}

/// What the last answer has of the range is its end; it may have more, before and after.
fn check_part(content: &[u8], answer: &[u8], other: &[u8]) {
    assert!(content.len() <= RANGE.len());
    let (first, _, _) = part(answer);
    let first = usize::try_from(first).expect("64 bits");
    let from = first.max(RANGE.start);
    let here = content.get(from - RANGE.start..).unwrap_or_default();
    assert!(other.get(from - first..).is_some_and(|it| it.starts_with(here)), "{content:?}");
}

/// Where an answer says that its content is: the first byte, the last, and the length of the whole.
fn part(mut answer: &[u8]) -> (u64, u64, Option<u64>) {
    loop {
        let (len, head) = fuzzing::answer(answer).expect("hyper has read a head");
        let head = head.expect("hyper has read it");
        if head.status >= 200 {
            return head.part.expect("a part says where it is");
        }
        answer = &answer[len..];
    }
}

/// A server with an answer for each connection.
struct Server<'a> {
    listener: TcpListener,
    answers: Vec<&'a [u8]>,
    count: AtomicUsize,
}

impl<'a> Server<'a> {
    fn new(answers: Vec<&'a [u8]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self { listener, answers, count: AtomicUsize::new(0) }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    fn last_answer(&self) -> &'a [u8] {
        let count = self.count.load(Ordering::Relaxed);
        self.answers.get(count.wrapping_sub(1)).copied().unwrap_or_default()
    }

    /// Answers while this works.
    fn serving<T>(&self, work: impl FnOnce() -> T) -> T {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.answer_each(&is_over));
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            drop(TcpStream::connect(self.listener.local_addr().expect("an address")));
            done
        })
    }

    /// The connections stay open: closing one whose request was not read would reset it.
    fn answer_each(&self, is_over: &AtomicBool) {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = self.listener.accept() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let index = self.count.fetch_add(1, Ordering::Relaxed);
            let answer = self.answers.get(index).copied().unwrap_or_default();
            drop(connection.write_all(answer));
            drop(connection.shutdown(Shutdown::Write));
            open.push(connection);
        }
    }
}

/// What a PUT sends, and where a GET goes.
fn set_up() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        ignore_closed_pipes();
        fs::create_dir(place("folder")).expect("a folder");
        fs::write(place("source"), "what is sent").expect("a file");
    });
}
