//! The floor: C loops that answer what a broker answers, and know nothing else.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use underpass_testkit::server::{Server, free_address};

use super::super::cpu;
use super::super::files;
use super::super::peers::compile;
use super::case::{Fetch, Measured, Produce};
use super::frames::{self, int32};
use super::server::Running;

/// Starts one for a fetch, on a segment of `broker`, with the head of the broker's own answer.
pub(super) fn fetch(case: &Fetch, broker: &Running, bytes: u64) -> Result<Running> {
    let load = case.load(broker, bytes)?;
    let (request, (first, _)) = (load.request, load.offsets);
    let offset_at = request.offset_at.context("a fetch has an offset")?;
    let mut frame = request.frame;
    frame[offset_at..offset_at + 8].copy_from_slice(&first.to_be_bytes());
    let answer = ask(&frame, broker)?;
    let records = answer.len() - request.head_bytes;

    let dir = files::scratch()?;
    let head = dir.path().join("head");
    fs::write(&head, &answer[..request.head_bytes])?;
    let mut segments = case.files(broker)?;
    segments.sort();
    let segment = segments.first().context("there is no segment")?;
    let (batch_records, batch_bytes) = case.batch();

    let address = free_address()?;
    let mut command = cpu::pinned(compile("sendfile-loop/fetch.c", dir.path())?)?;
    command.arg(address.port().to_string()).arg(segment).arg(&head).arg(offset_at.to_string());
    command.args([batch_records, batch_bytes, records as u64].map(|number| number.to_string()));
    let server = Server::start(&mut command, address)?;
    Ok(Running::floor(server, broker.data(), dir))
}

/// Measures one for a produce case, on a new file, with the broker's own answer.
pub(super) fn produce(case: &Produce, broker: &Running, time: Duration) -> Result<Measured> {
    let mut asking = frames::connect(broker.address())?;
    ensure!(frames::create(&mut asking, case.name, 1, &[])?, "{} is there already", case.name);
    let answer = ask(&frames::produce(case.name, &frames::batch(1, 1), 1).frame, broker)?;
    frames::delete(&mut asking, case.name)?;
    let dir = files::scratch()?;
    let (file, canned) = (dir.path().join("file"), dir.path().join("answer"));
    fs::write(&canned, answer)?;
    let address = free_address()?;
    let mut command = cpu::pinned(compile("sendfile-loop/produce.c", dir.path())?)?;
    command.arg(address.port().to_string()).arg(file).arg(canned);
    let server = Server::start(&mut command, address)?;
    case.run(&Running::floor(server, broker.data(), dir), 1, time)
}

fn ask(frame: &[u8], broker: &Running) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(broker.address())?;
    stream.write_all(frame)?;
    let mut answer = vec![0; 4];
    stream.read_exact(&mut answer)?;
    let len = usize::try_from(int32(&answer, 0)?)?;
    answer.resize(4 + len, 0);
    stream.read_exact(&mut answer[4..])?;
    Ok(answer)
}
