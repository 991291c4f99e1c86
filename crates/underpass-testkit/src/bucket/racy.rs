//! A server of the protocol's writes whose conditions hold in part: right one at a time, it may
//! look at a condition before it has the content, as servers that people run do (s3s-fs 0.14.1,
//! S3Mock 5.2.0). Signatures are not looked at, and nothing is listed.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A client that stands still is forgotten.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is wrong with its conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// They are looked at before the content has come, from this write of the server on.
    Races(u64),
    /// The same of If-Match alone.
    RacesOnUpdate,
    /// They are not looked at.
    Ignores,
    /// If-Match is not looked at.
    IgnoresIfMatch,
    /// If-Match creates what is not there.
    CreatesByIfMatch,
    /// If-None-Match is answered with 501.
    KnowsNone,
    /// Of every six writes that are carried out one is answered with 500, as by a proxy.
    FailsAfterwards,
    /// Who loses has the content there, too.
    KeepsTheLast,
    /// What was put is never there, from the second write on.
    Forgets,
    /// Nothing may be written.
    Denies,
}

/// The server; it ends with the process.
#[derive(Debug)]
pub struct Racy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Contents by path, with the number of the write that made them.
    objects: HashMap<String, (u64, Vec<u8>)>,
    writes: u64,
}

struct Request {
    method: String,
    path: String,
    fields: HashMap<String, String>,
}

struct Answer {
    status: u16,
    tag: Option<u64>,
    content: Vec<u8>,
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Self { status, tag: None, content: Vec::new() }
    }
}

impl Racy {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Those of bind(2).
    pub fn start(flaw: Flaw) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, state) = (listener.local_addr()?, Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || drop(serve(&peer, &state, flaw)));
            }
        });
        Ok(Self { address, state })
    }

    /// The URL of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The paths of what it has.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        lock(&self.state).objects.keys().cloned().collect()
    }

    /// As many writes as it was asked for.
    #[must_use]
    pub fn writes(&self) -> u64 {
        lock(&self.state).writes
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(peer: &TcpStream, state: &Mutex<State>, flaw: Flaw) -> io::Result<()> {
    peer.set_read_timeout(Some(PATIENCE))?;
    let (mut from, mut to) = (BufReader::new(peer), peer);
    while let Some(request) = read(&mut from)? {
        let answer = match request.method.as_str() {
            "PUT" => put(&request, &mut from, state, flaw)?,
            "DELETE" => {
                lock(state).objects.remove(&request.path);
                Answer::from(204)
            }
            _ => match lock(state).objects.get(&request.path) {
                Some((tag, content)) => {
                    Answer { status: 200, tag: Some(*tag), content: content.clone() }
                }
                None => Answer::from(404),
            },
        };
        let tag = answer.tag.map(|tag| format!("ETag: \"{tag}\"\r\n")).unwrap_or_default();
        let (status, len) = (answer.status, answer.content.len());
        let head = format!("HTTP/1.1 {status} X\r\nServer: racy\r\n{tag}");
        let length =
            if status == 204 { String::new() } else { format!("Content-Length: {len}\r\n") };
        to.write_all(format!("{head}{length}\r\n").as_bytes())?;
        to.write_all(&answer.content)?;
    }
    Ok(())
}

fn put(
    request: &Request,
    from: &mut impl Read,
    state: &Mutex<State>,
    flaw: Flaw,
) -> io::Result<Answer> {
    let is_update = request.fields.contains_key("if-match");
    let number = {
        let mut state = lock(state);
        state.writes += 1;
        state.writes
    };
    let is_early = matches!(flaw, Flaw::Races(first) if number >= first)
        || (flaw == Flaw::RacesOnUpdate && is_update);
    let early = is_early.then(|| holds(request, &lock(state), flaw));
    let len = request.fields.get("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    let mut content = vec![0; len];
    from.read_exact(&mut content)?;
    let mut state = lock(state);
    if flaw == Flaw::Denies {
        return Ok(Answer::from(403));
    }
    if flaw == Flaw::KnowsNone && !is_update {
        return Ok(Answer::from(501));
    }
    let status = early.unwrap_or_else(|| holds(request, &state, flaw));
    if status != 200 && flaw != Flaw::KeepsTheLast {
        return Ok(Answer::from(status));
    }
    if flaw != Flaw::Forgets || number < 2 {
        state.objects.insert(request.path.clone(), (number, content));
    }
    let fails = flaw == Flaw::FailsAfterwards && number > 6 && number % 6 == 1;
    Ok(Answer { tag: Some(number), ..Answer::from(if fails { 500 } else { status }) })
}

/// The status by which a write is carried out, or is not.
fn holds(request: &Request, state: &State, flaw: Flaw) -> u16 {
    let there = state.objects.get(&request.path).map(|(tag, _)| format!("\"{tag}\""));
    match (request.fields.get("if-match"), request.fields.get("if-none-match")) {
        _ if flaw == Flaw::Ignores => 200,
        (Some(_), _) if flaw == Flaw::IgnoresIfMatch => 200,
        (Some(_), _) if flaw == Flaw::CreatesByIfMatch && there.is_none() => 200,
        (Some(_), _) if there.is_none() => 404,
        (Some(wanted), _) if there.as_ref() != Some(wanted) => 412,
        (None, Some(_)) if there.is_some() => 412,
        _ => 200,
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let mut fields = HashMap::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Request { method, path, fields }))
}
