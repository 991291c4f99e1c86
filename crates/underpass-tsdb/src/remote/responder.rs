//! From a request to its answer.
//!
//! Blocks are read on a thread that may wait for a disk. The status of an answer in frames is
//! decided by the first of them; what goes wrong later ends the connection, so that the client
//! takes what it has for no more than a part.
//!
//! Source: prometheus.io, "Remote Read API"; RFC 9110 §15.5.6 (405), §15.5.14 (413).

use std::convert::Infallible;
use std::error::Error;
use std::iter::successors;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::body::{Content, Told};
use super::ended::Ended;
use super::reading::{ReadError, Reading};
use super::request::{AnswerType, BODY_MAX, ReadRequest, RequestError};
use super::turn::Turn;
use super::worker::Worker;
use crate::time::Rfc3339;

/// Where Prometheus has it.
const READ: &str = "/api/v1/read";

/// How long the body of a request may take.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// Pieces that wait for their client.
const WAITING_MAX: usize = 4;

const TEXT: &str = "text/plain; charset=utf-8";
const MESSAGE: &str = "application/x-protobuf";
const FRAMES: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Why a request is answered with a text.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is nothing at this path; remote read is at {READ}")]
    Path,
    #[error("remote read takes POST")]
    ReadMethod,
    #[error("this path takes GET")]
    PageMethod,
    #[error("the body did not arrive within {} s", BODY_LIMIT.as_secs())]
    Late,
    #[error("the body broke off")]
    Body(#[source] hyper::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the server gave the request up: it stops, or its log says why")]
    GivenUp,
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::ReadMethod | Self::PageMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Request(RequestError::Long) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(_) | Self::Request(_) | Self::Read(ReadError::Samples(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::Read(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::GivenUp => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Answers a request.
pub(super) async fn respond(
    worker: Rc<Worker>,
    turn: Rc<Turn>,
    client: Option<SocketAddr>,
    request: Request<Incoming>,
) -> Result<Response<Content>, Infallible> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let mut ended = Ended::new(&worker, &turn, client, line);
    let outcome = match (request.method(), request.uri().path()) {
        (&Method::POST, READ) => read(&worker, request.into_body(), &mut ended).await,
        (_, READ) => Err(Refusal::ReadMethod),
        (&Method::GET | &Method::HEAD, "/" | "/-/healthy" | "/-/ready") => Ok(about(&worker)),
        (_, "/" | "/-/healthy" | "/-/ready") => Err(Refusal::PageMethod),
        _ => Err(Refusal::Path),
    };
    Ok(outcome.unwrap_or_else(|refusal| refused(&refusal, &mut ended)).into_response(ended))
}

/// An answer that has no connection yet.
struct Answer {
    head: Vec<(HeaderName, HeaderValue)>,
    pieces: Pieces,
}

enum Pieces {
    Memory(Vec<Bytes>),
    Thread(Bytes, mpsc::Receiver<Told>),
}

impl Answer {
    fn of(content_type: &'static str, pieces: Pieces) -> Self {
        Self { head: vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))], pieces }
    }

    fn text(text: String) -> Self {
        Self::of(TEXT, Pieces::Memory(vec![text.into()]))
    }

    fn into_response(self, ended: Ended) -> Response<Content> {
        let status = ended.status;
        let content = match self.pieces {
            Pieces::Memory(pieces) => Content::of(pieces, ended),
            Pieces::Thread(first, rest) => Content::streamed(first, rest, ended),
        };
        let mut response = Response::new(content);
        *response.status_mut() = status;
        response.headers_mut().extend(self.head);
        response
    }
}

fn refused(refusal: &Refusal, ended: &mut Ended) -> Answer {
    ended.status = refusal.status();
    let mut answer = Answer::text(format!("{}\n", chain(refusal)));
    let methods = match refusal {
        Refusal::ReadMethod => Some("POST"),
        Refusal::PageMethod => Some("GET, HEAD"),
        Refusal::Path
        | Refusal::Late
        | Refusal::Body(_)
        | Refusal::Request(_)
        | Refusal::Read(_)
        | Refusal::GivenUp => None,
    };
    let allow = methods.map(|methods| (ALLOW, HeaderValue::from_static(methods)));
    answer.head.extend(allow);
    answer
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let causes = successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What is served, for a person who looks.
fn about(worker: &Worker) -> Answer {
    let blocks = worker.shared.current.now();
    let span = |(min, max)| format!(" from {} to {}", Rfc3339(min), Rfc3339(max));
    let (count, times) = (blocks.blocks.len(), blocks.times().map(span).unwrap_or_default());
    let counted = if count == 1 { "block" } else { "blocks" };
    Answer::text(format!(
        "underpass tsdb serve: {count} {counted}{times}; remote read is at {READ}\n"
    ))
}

async fn read(worker: &Worker, body: Incoming, ended: &mut Ended) -> Result<Answer, Refusal> {
    let body = timeout(BODY_LIMIT, collect(body)).await.map_err(|_| Refusal::Late)??;
    let gate = Arc::clone(&worker.shared.gate);
    // Never closed.
    let permit = gate.acquire_owned().await.map_err(|_| Refusal::GivenUp)?;
    // To compile its regular expressions takes a while.
    let request = spawn_blocking(move || ReadRequest::read(&body));
    let request = request.await.map_err(|_| Refusal::GivenUp)??;
    let reading = Reading {
        blocks: worker.shared.current.now(),
        rules: Arc::clone(&worker.shared.rules),
        request,
        tally: Arc::clone(&ended.tally),
    };
    match reading.request.answer {
        AnswerType::Samples => {
            ended.form = "samples";
            samples(reading, permit).await
        }
        AnswerType::Chunks => {
            ended.form = "chunks";
            chunks(reading, permit).await
        }
    }
}

async fn collect(mut body: Incoming) -> Result<Bytes, Refusal> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Refusal::Body)?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > BODY_MAX {
            return Err(RequestError::Long.into());
        }
    }
    Ok(bytes.freeze())
}

async fn samples(reading: Reading, permit: OwnedSemaphorePermit) -> Result<Answer, Refusal> {
    let work = move || {
        let _permit = permit;
        reading.samples()
    };
    // It is cancelled if the runtime stops meanwhile.
    let pieces = spawn_blocking(work).await.map_err(|_| Refusal::GivenUp)??;
    let mut answer = Answer::of(MESSAGE, Pieces::Memory(pieces));
    answer.head.push((CONTENT_ENCODING, HeaderValue::from_static("snappy")));
    Ok(answer)
}

async fn chunks(reading: Reading, permit: OwnedSemaphorePermit) -> Result<Answer, Refusal> {
    let (sender, mut told) = mpsc::channel(WAITING_MAX);
    // It ends when it is done, or when the answer is dropped with its connection.
    drop(spawn_blocking(move || {
        let _permit = permit;
        tell(&reading, &sender);
    }));
    match told.recv().await {
        Some(Told::Piece(first)) => Ok(Answer::of(FRAMES, Pieces::Thread(first, told))),
        Some(Told::End) => Ok(Answer::of(FRAMES, Pieces::Memory(Vec::new()))),
        Some(Told::Failed(error)) => Err(error.into()),
        None => Err(Refusal::GivenUp),
    }
}

/// Reads, and tells of it for as long as anything listens.
fn tell(reading: &Reading, sender: &mpsc::Sender<Told>) {
    let send = |told| sender.blocking_send(told).map_err(|_| ReadError::Gone);
    let last = match reading.chunks(|piece| send(Told::Piece(piece))) {
        Ok(()) => Told::End,
        Err(error) => Told::Failed(error),
    };
    // Whether it listens is its own affair.
    send(last).unwrap_or_default();
}
