//! What claims are judged by and a comparison lacks: a file sent over the loopback device in
//! pieces and whole, and over devices with and without scatter-gather.

use underpass::Method;

use super::report::{Absent, Report, Row};
use super::{Progress, Request, Specimen, plan, run};
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

/// More bytes and runs are not made for the claims, however many the user asks for.
const BYTES_MAX: u64 = 64 << 20;
const REPEATS_MAX: u32 = 5;

/// A report that claims can be judged by.
pub(crate) struct Completed {
    pub(crate) report: Report,
    /// What has to be known of the runs that were made for it.
    pub(crate) notes: Vec<String>,
    /// What was sent for it over these links.
    pub(crate) how: Vec<(&'static [Link], String)>,
}

/// The report without what is too little to judge by, and with what it lacks measured on the
/// first of `files` that is large enough; what cannot be is absent with why.
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
        let repeats = report.conditions.repeats;
        whole.report.rows.retain(|row| !need.is_of(row) || need.takes(row, repeats));
        let missing = need.missing(&whole.report.rows);
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
        let request = need.request(request, specimen.bytes(), missing);
        match run(specimen, &request, progress) {
            Ok(more) => {
                // Whole files are of one size, whatever it is.
                let size = |row: &Row| match row.transfer_bytes >= row.bytes {
                    true => u64::MAX,
                    false => row.transfer_bytes,
                };
                let is_new =
                    |row: &Row| need.is_of(row) && more.rows.iter().any(|it| size(it) == size(row));
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
    fn missing(&self, rows: &[Row]) -> Vec<u64> {
        let has = |is: &dyn Fn(&Row) -> bool| {
            let mut all =
                self.links.iter().flat_map(|link| self.methods.iter().map(move |it| (link, it)));
            all.all(|(link, method)| {
                let mut rows = rows.iter().filter(|row| self.is_of(row) && is(row));
                rows.any(|row| row.link == Some(*link) && row.method == *method)
            })
        };
        let whole = has(&|row| row.transfer_bytes >= row.bytes.max(self.bytes));
        let sizes = self.transfers.iter().copied();
        let missing = sizes.filter(|bytes| !has(&|row| row.transfer_bytes == *bytes));
        missing.chain((!whole).then_some(u64::MAX)).collect()
    }

    /// Whether a row of this many runs may decide: it is of the whole file or of a wanted size, and
    /// of as many bytes as would be sent for the claims.
    fn takes(&self, row: &Row, repeats: u32) -> bool {
        let is_whole = row.transfer_bytes >= row.bytes.max(self.bytes);
        let is_wanted = self.transfers.contains(&row.transfer_bytes)
            && row.bytes >= plan::run_bytes(self.bytes, row.transfer_bytes);
        self.bytes == 0 || repeats >= REPEATS_MIN && (is_whole || is_wanted)
    }

    /// What is asked for to have transfers of these sizes, too, of a file of `bytes`.
    fn request(&self, asked: &Request, bytes: u64, transfers: Vec<u64>) -> Request {
        Request {
            bytes: asked.bytes.clamp(BYTES_MIN, BYTES_MAX).min(bytes),
            pairs: vec![Pair::FileToTcp],
            methods: self.methods.to_vec(),
            links: self.links.to_vec(),
            cold: false,
            transfers,
            repeats: asked.repeats.clamp(REPEATS_MIN, REPEATS_MAX),
            ..asked.clone()
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::request;

    #[test]
    fn however_much_is_asked_for_what_is_sent_for_claims_is_bounded() {
        let sent = |bytes, repeats, of| {
            let asked = Request { bytes, ..request(true, repeats) };
            let sent = NEEDS[0].request(&asked, of, Vec::new());
            (sent.bytes >> 20, sent.repeats)
        };
        assert_eq!(sent(1 << 30, 100, 1 << 40), (64, 5));
        assert_eq!(sent(1, 1, 1 << 40), (24, 3));
        assert_eq!(sent(1 << 30, 4, 32 << 20), (32, 4));
    }
}
