//! What lies in a ring, as values: calls that returned, packets that left, threads that began.
//!
//! A record that is cut short, or of a kind not known here, is left out.
//!
//! Source: perf_event_open(2), "MMAP layout"; raw_syscalls:sys_exit, net:net_dev_start_xmit.

use super::TraceError;
use super::tracefs::{Field, Format};

const COMM: u32 = 3;
const LOST: u32 = 2;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;

/// `PERF_RECORD_MISC_COMM_EXEC`: the name is new because the program is.
const MISC_EXEC: u16 = 1 << 13;

/// linux/trace_events.h: the sample was taken while the kernel served an interrupt, in whoever's
/// time that was.
const IN_INTERRUPT: u64 = 0x08 | 0x10;

const HEADER_LEN: usize = 8;

/// One entry of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) time: u64,
    pub(crate) process: u32,
    pub(crate) thread: u32,
    pub(crate) event: Event,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A call returned.
    Call(Call),
    /// A packet was given to a device.
    Packet(Packet),
    /// The thread began; its process is another than the parent's or the same.
    Begun { parent: u32 },
    /// The thread ended.
    Ended,
    /// The process executed another program.
    Executed,
    /// So many records found no room.
    Lost(u64),
}

/// A call and its first four arguments, as they stood when it returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) returned: i64,
    pub(crate) arguments: [u64; 4],
}

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The device's name.
    pub(crate) interface: String,
    /// Whether the thread itself sent it, in a call of its own.
    pub(crate) is_own: bool,
    /// All of it, with the headers.
    pub(crate) len: u64,
    /// What of it lies in pages.
    pub(crate) paged: u64,
    /// Where the header of TCP begins.
    pub(crate) transport_offset: u64,
}

/// The two tracepoints that are watched.
#[derive(Debug)]
pub(crate) struct Formats {
    pub(crate) calls: Format,
    pub(crate) packets: Format,
    fields: Fields,
}

#[derive(Debug)]
struct Fields {
    kind: Field,
    flags: Field,
    number: Field,
    returned: Field,
    interface: Field,
    len: Field,
    paged: Field,
    transport_offset: Field,
}

impl Formats {
    /// Asks tracefs.
    pub(crate) fn of_kernel() -> Result<Self, TraceError> {
        let calls = Format::of("raw_syscalls/sys_exit")?;
        let packets = Format::of("net/net_dev_start_xmit")?;
        let fields = Fields {
            kind: calls.field("common_type")?,
            flags: calls.field("common_flags")?,
            number: calls.field("id")?,
            returned: calls.field("ret")?,
            interface: packets.field("name")?,
            len: packets.field("len")?,
            paged: packets.field("data_len")?,
            transport_offset: packets.field("transport_offset")?,
        };
        Ok(Self { calls, packets, fields })
    }

    /// Reads what a ring held.
    pub(crate) fn records(&self, mut bytes: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(header) = bytes.get(..HEADER_LEN) {
            let (kind, misc, len) = (u32_at(header, 0), u16_at(header, 4), u16_at(header, 6));
            let Some(body) = bytes.get(HEADER_LEN..usize::from(len)) else { break };
            records.extend(self.record(kind, misc, body));
            bytes = bytes.get(usize::from(len)..).unwrap_or_default();
        }
        records
    }

    fn record(&self, kind: u32, misc: u16, body: &[u8]) -> Option<Record> {
        // What is no sample ends in process, thread and time.
        let end = body.len().checked_sub(16)?;
        let last = Record {
            process: u32_at(body, end),
            thread: u32_at(body, end + 4),
            time: u64_at(body, end + 8),
            event: Event::Ended,
        };
        match kind {
            SAMPLE => self.sample(body),
            // Process, parent, thread, parent's thread, time.
            FORK | EXIT if body.len() >= 24 => Some(Record {
                process: u32_at(body, 0),
                thread: u32_at(body, 8),
                time: u64_at(body, 16),
                event: match kind {
                    FORK => Event::Begun { parent: u32_at(body, 4) },
                    _ => Event::Ended,
                },
            }),
            COMM if misc & MISC_EXEC != 0 => Some(Record { event: Event::Executed, ..last }),
            LOST => Some(Record { event: Event::Lost(u64_at(body, 8)), ..last }),
            _ => None,
        }
    }

    /// Process, thread, time, length of the fields, fields, and registers of a call.
    fn sample(&self, body: &[u8]) -> Option<Record> {
        let len = usize::try_from(u32_at(body.get(..20)?, 16)).ok()?;
        let (fields, rest) = body.get(20..)?.split_at_checked(len)?;
        let kind = self.fields.kind.number(fields);
        let event = if kind == self.calls.id {
            self.call(fields, rest)?
        } else if kind == self.packets.id {
            self.packet(fields)
        } else {
            return None;
        };
        Some(Record {
            process: u32_at(body, 0),
            thread: u32_at(body, 4),
            time: u64_at(body, 8),
            event,
        })
    }

    /// Behind the fields are whether there are registers, and dx, si, di, r10.
    fn call(&self, fields: &[u8], registers: &[u8]) -> Option<Event> {
        let registers = registers.get(..40)?;
        let [dx, si, di, r10] = [8, 16, 24, 32].map(|at| u64_at(registers, at));
        Some(Event::Call(Call {
            number: u32::try_from(self.fields.number.number(fields)).ok()?,
            returned: self.fields.returned.number(fields).cast_signed(),
            arguments: [di, si, dx, r10],
        }))
    }

    fn packet(&self, fields: &[u8]) -> Event {
        let at = &self.fields;
        Event::Packet(Packet {
            interface: at.interface.text(fields),
            is_own: at.flags.number(fields) & IN_INTERRUPT == 0,
            len: at.len.number(fields),
            paged: at.paged.number(fields),
            transport_offset: at.transport_offset.number(fields),
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let value = bytes.get(at..at + 2).and_then(|value| value.try_into().ok());
    value.map_or(0, u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let value = bytes.get(at..at + 4).and_then(|value| value.try_into().ok());
    value.map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let value = bytes.get(at..at + 8).and_then(|value| value.try_into().ok());
    value.map_or(0, u64::from_ne_bytes)
}
