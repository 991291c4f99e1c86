//! What claims are judged by and a comparison lacks: a file sent over the loopback device in
//! pieces and whole, and over devices with and without scatter-gather.

use underpass::Method;

use super::report::{Absent, Report, Row};
use super::{Progress, Request, Specimen, run};
use crate::terms::{Cache, Link, Pair};

/// What has to have been compared.
struct Need {
    links: &'static [Link],
    methods: &'static [Method],
    /// Transfers that are smaller than the file.
    transfers: &'static [u64],
    /// Bytes of the whole file, at least.
    bytes: u64,
}

const NEEDS: [Need; 2] = [
    Need {
        links: &[Link::Loopback],
        methods: &[Method::Copy, Method::MmapWrite, Method::Sendfile],
        transfers: &[4 << 10, 64 << 10, 1 << 20],
        bytes: 16 << 20,
    },
    Need {
        links: &[Link::Veth, Link::VethWithoutScatterGather],
        methods: &[Method::Sendfile],
        transfers: &[],
        bytes: 0,
    },
];

/// The report, with what it lacks measured on `specimen`; what cannot be is absent with why.
pub(crate) fn completed(
    report: &Report,
    specimen: &Specimen,
    request: &Request,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Report {
    let mut whole = report.clone();
    for need in NEEDS.iter().filter(|need| !need.is_met(&report.rows)) {
        let request = Request {
            bytes: specimen.bytes(),
            pairs: vec![Pair::FileToTcp],
            methods: need.methods.to_vec(),
            links: need.links.to_vec(),
            cold: false,
            transfers: need.transfers.to_vec(),
            repeats: 3,
            ..request.clone()
        };
        whole.rows.retain(|row| row.link.is_none_or(|link| !need.links.contains(&link)));
        match run(specimen, &request, progress) {
            Ok(more) => {
                whole.rows.extend(more.rows);
                whole.absent.extend(more.absent);
                let notes = more.conditions.notes.into_iter();
                whole.conditions.notes.extend(notes.map(|note| format!("for the claims: {note}")));
            }
            Err(error) => whole.absent.extend(need.links.iter().map(|&link| Absent {
                pair: Pair::FileToTcp,
                link: Some(link),
                method: Method::Sendfile,
                cache: Cache::Warm,
                transfer_bytes: specimen.bytes(),
                why: error.to_string(),
            })),
        }
    }
    whole
}

impl Need {
    fn is_met(&self, rows: &[Row]) -> bool {
        self.links
            .iter()
            .all(|&link| self.methods.iter().all(|&method| self.has(rows, link, method)))
    }

    fn has(&self, rows: &[Row], link: Link, method: Method) -> bool {
        let is = |row: &&Row| {
            (row.pair, row.link, row.cache, row.method)
                == (Pair::FileToTcp, Some(link), Cache::Warm, method)
        };
        let has = |bytes: u64| rows.iter().filter(is).any(|row| row.transfer_bytes == bytes);
        let is_whole = |row: &Row| row.transfer_bytes >= row.bytes.max(self.bytes);
        rows.iter().filter(is).any(is_whole) && self.transfers.iter().all(|&bytes| has(bytes))
    }
}
