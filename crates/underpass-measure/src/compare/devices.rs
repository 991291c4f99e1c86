//! What claims are judged by and a comparison lacks: a file sent over the loopback device in
//! pieces and whole, and over devices with and without scatter-gather.

use underpass::Method;

use super::report::{Absent, Conditions, Report, Row};
use super::{Progress, Request, Specimen, run};
use crate::figure::REPEATS_MIN;
use crate::terms::{Cache, Link, Pair};
use crate::words;

/// What has to have been compared.
struct Need {
    links: &'static [Link],
    methods: &'static [Method],
    /// Transfers that are smaller than the file.
    transfers: &'static [u64],
    /// Bytes of the whole file, at least, if how much was sent and how often matters.
    bytes: u64,
}

const NEEDS: [Need; 2] = [
    Need {
        links: &[Link::Loopback],
        methods: &[Method::Copy, Method::MmapWrite, Method::Sendfile],
        transfers: &[4 << 10, 64 << 10, 1 << 20, 4 << 20, 16 << 20],
        bytes: BYTES_MIN,
    },
    Need {
        links: &[Link::Veth, Link::VethWithoutScatterGather],
        methods: &[Method::Sendfile],
        transfers: &[],
        bytes: 0,
    },
];

/// A file that has fewer is not sent for the claims.
const BYTES_MIN: u64 = 24 << 20;

/// A report that claims can be judged by.
pub(crate) struct Completed {
    pub(crate) report: Report,
    /// What has to be known of the runs that were made for it.
    pub(crate) notes: Vec<String>,
    /// What was sent for it over these links.
    pub(crate) how: Vec<(&'static [Link], String)>,
}

/// The report, with what it lacks measured on the first of `files` that is large enough; what
/// cannot be is absent with why.
pub(crate) fn completed(
    report: &Report,
    files: [Result<&Specimen, &String>; 2],
    request: &Request,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Completed {
    let (notes, how) = (Vec::new(), Vec::new());
    let mut whole = Completed { report: report.clone(), notes, how };
    let [theirs, own] = files;
    let large = theirs.ok().filter(|specimen| specimen.bytes() >= BYTES_MIN);
    for need in &NEEDS {
        let missing = need.missing(report);
        if missing.is_empty() {
            continue;
        }
        let specimen = match large.map_or(own, Ok) {
            Ok(specimen) => specimen,
            Err(why) => {
                whole.report.absent.extend(need.absent(why));
                continue;
            }
        };
        let request = Request {
            bytes: request.bytes.max(BYTES_MIN).min(specimen.bytes()),
            pairs: vec![Pair::FileToTcp],
            methods: need.methods.to_vec(),
            links: need.links.to_vec(),
            cold: false,
            transfers: missing.clone(),
            repeats: request.repeats.max(REPEATS_MIN),
            ..request.clone()
        };
        match run(specimen, &request, progress) {
            Ok(more) => {
                let is_new = |row: &Row| {
                    need.is_of(row)
                        && more.rows.iter().any(|it| it.transfer_bytes == row.transfer_bytes)
                };
                whole.report.rows.retain(|row| !is_new(row));
                let (size, runs) =
                    (words::size(request.bytes), words::of(request.repeats.into(), "run"));
                let said =
                    format!(" For this, {size} of {} were sent: {runs} each.", specimen.name);
                whole.how.push((need.links, said));
                whole.report.rows.extend(more.rows);
                whole.report.absent.extend(more.absent);
                let notes = more.conditions.notes.into_iter();
                whole.notes.extend(notes.map(|note| format!("for the claims: {note}")));
            }
            Err(error) => whole.report.absent.extend(need.absent(&words::chain(&error))),
        }
    }
    whole
}

impl Need {
    /// Sizes of transfers that were not measured by every method over every link; that of the
    /// whole file is the largest that there can be.
    fn missing(&self, report: &Report) -> Vec<u64> {
        let Conditions { repeats, file_bytes, .. } = report.conditions;
        let is_enough = self.bytes == 0 || (repeats >= REPEATS_MIN && file_bytes >= self.bytes);
        let has = |is: &dyn Fn(&Row) -> bool| {
            let mut all =
                self.links.iter().flat_map(|link| self.methods.iter().map(move |it| (link, it)));
            is_enough
                && all.all(|(link, method)| {
                    let mut rows = report.rows.iter().filter(|row| self.is_of(row) && is(row));
                    rows.any(|row| row.link == Some(*link) && row.method == *method)
                })
        };
        let whole = has(&|row| row.transfer_bytes >= row.bytes.max(self.bytes));
        let sizes = self.transfers.iter().copied();
        let missing = sizes.filter(|bytes| !has(&|row| row.transfer_bytes == *bytes));
        missing.chain((!whole).then_some(u64::MAX)).collect()
    }

    fn is_of(&self, row: &Row) -> bool {
        let is_linked = row.link.is_some_and(|link| self.links.contains(&link));
        row.pair == Pair::FileToTcp && row.cache == Cache::Warm && is_linked
    }

    fn absent(&self, why: &str) -> Vec<Absent> {
        let of = |link| self.methods.iter().map(move |&method| (link, method));
        let all = self.links.iter().flat_map(|&link| of(link));
        let (pair, cache, transfer_bytes) = (Pair::FileToTcp, Cache::Warm, self.bytes);
        let absent = |(link, method)| {
            let (link, why) = (Some(link), why.to_owned());
            Absent { pair, link, method, cache, transfer_bytes, why }
        };
        all.map(absent).collect()
    }
}
