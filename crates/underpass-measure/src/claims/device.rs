//! Whether sendfile needs a device that gathers, shown by a comparison over two links.
//!
//! The calls look the same on both: a sendfile over a device without scatter-gather returns as if
//! nothing were copied. Only what the pages of the packets are, when they reach the device, tells.
//!
//! Source: `Documentation/networking/netdev-features.rst`, `NETIF_F_SG`.

use std::io;

use underpass::Method;

use crate::claims::rig::Rig;
use crate::claims::{Line, Shown, Unit, Verdict};
use crate::compare::report::{Cache, Link, Pair, Report, Row};
use crate::figure::Figure;

const NOT_COMPARED: &str = "needs a comparison over veth with scatter-gather on and off";

pub(super) fn scatter_gather(rig: &mut Rig<'_>) -> io::Result<Shown> {
    Ok(rig.given.report.map_or_else(|| Shown::unavailable(NOT_COMPARED), shown))
}

fn shown(report: &Report) -> Shown {
    let mut lines = Vec::new();
    for link in Link::ALL {
        let Some(row) = sendfile(report, link) else { continue };
        lines.extend([
            Line::new(
                format!("over {link}: copies at the sender"),
                row.sender_copies.clone(),
                Unit::Copies,
            ),
            Line::new(format!("over {link}: speed"), row.gb_per_s.median.clone(), Unit::GbPerS),
            Line::new(
                format!("over {link}: processor time of the sender"),
                row.sender_cpu_s_per_gb.clone(),
                Unit::CpuSPerGb,
            ),
        ]);
    }
    let copies = |link| sendfile(report, link).map(|row| &row.sender_copies);
    let verdict = judge(copies(Link::Veth), copies(Link::VethWithoutScatterGather));
    Shown {
        lines,
        verdict,
        explanation:
            "A device that gathers takes a packet as a list of pages, and the page cache's \
                      own are on that list. For one that does not, the kernel copies every packet \
                      into one piece, and sends each by itself. sendfile returns the same in \
                      both cases."
                .into(),
    }
}

/// The row of sendfile in one piece over `link`, warm if there is such a row.
fn sendfile(report: &Report, link: Link) -> Option<&Row> {
    let is = |row: &&Row| {
        (row.pair, row.link, row.method) == (Pair::FileToTcp, Some(link), Method::Sendfile)
    };
    let rows = || report.rows.iter().filter(is);
    rows()
        .filter(|row| row.cache == Cache::Warm)
        .chain(rows())
        .max_by_key(|row| (row.cache == Cache::Warm, row.transfer_bytes))
}

fn judge(gathering: Option<&Figure>, not_gathering: Option<&Figure>) -> Verdict {
    let (Some(gathering), Some(not_gathering)) = (gathering, not_gathering) else {
        return Verdict::Unavailable(NOT_COMPARED.into());
    };
    match (gathering, not_gathering) {
        (Figure::Unavailable(why), _) | (_, Figure::Unavailable(why)) => {
            Verdict::Unavailable(why.clone())
        }
        (
            Figure::Measured(with) | Figure::Derived { value: with, .. },
            Figure::Measured(without) | Figure::Derived { value: without, .. },
        ) => {
            if *with < 0.1 && *without > 0.9 {
                Verdict::Holds
            } else {
                Verdict::DoesNotHold
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_copy_must_be_there_without_and_away_with_scatter_gather() {
        let (none, one) = (Figure::Measured(0.0), Figure::Measured(1.0));
        assert_eq!(judge(Some(&none), Some(&one)), Verdict::Holds);
        assert_eq!(judge(Some(&none), Some(&none)), Verdict::DoesNotHold);
        assert_eq!(judge(Some(&one), Some(&one)), Verdict::DoesNotHold);
    }

    #[test]
    fn without_a_comparison_or_its_figures_it_cannot_be_told() {
        assert_eq!(judge(None, None), Verdict::Unavailable(NOT_COMPARED.into()));
        let none = Figure::Unavailable("no probe".into());
        let verdict = judge(Some(&none), Some(&Figure::Measured(1.0)));
        assert_eq!(verdict, Verdict::Unavailable("no probe".into()));
    }
}
