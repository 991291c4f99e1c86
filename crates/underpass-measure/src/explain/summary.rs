//! The outcome of a watch, and whether it is what was demanded.

use serde::Serialize;

use crate::explain::interval::Interval;
use crate::explain::outside::Counted;
use crate::explain::report::{Report, Shortfall};
use crate::observe::Tier;
use crate::words::of;

/// What was seen, for a reader.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What the watcher was privileged to know.
    pub tier: Tier,
    /// Why it is not tier A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier_why: Option<String>,
    /// How long it watched.
    pub seconds: f64,
    /// Percentage of that time that was looked at, where the rest would have cost too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_percent: Option<f64>,
    /// Percentage of a processor's time that looking was allowed to take, where it was limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_percent: Option<f64>,
    /// The share by reference of all the time, where only a part of it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by_reference_interval: Option<Interval>,
    /// Processes it followed, with the names of their programs.
    pub followed: Vec<(u32, String)>,
    /// Those that a command left running when it ended by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_running: Vec<(u32, String)>,
    /// Those that did not end when they were asked to, and were killed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub killed: Vec<(u32, String)>,
    /// Bytes of programs that had ended, still in the queues of their sockets, or on the way and
    /// not acknowledged, when the watch ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub queued_bytes: u64,
    /// The judgement, in tier A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// What was counted, in the other tiers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<Counted>,
}

impl Summary {
    /// Holds the share by reference against a demanded percentage; where only a part of the time
    /// was looked at, the least that it may have been.
    ///
    /// # Errors
    ///
    /// [`Shortfall`] if it is below, if nothing was sent, or if it cannot be known.
    pub fn check(&self, min_by_reference: f64) -> Result<(), Shortfall> {
        match &self.report {
            Some(report) => {
                report.hold(min_by_reference, self.by_reference_interval, self.queued_bytes)
            }
            None => Err(Shortfall(format!(
                "the share by reference is not known in tier {:?} ({}), {min_by_reference} % were \
                 demanded",
                self.tier,
                self.tier_why.as_deref().unwrap_or_default(),
            ))),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// `nginx (100) and 2 more processes`.
pub(crate) fn names(followed: &[(u32, String)]) -> String {
    match followed {
        [] => "nothing".to_owned(),
        [(process, program)] => format!("{program} ({process})"),
        [(process, program), others @ ..] => {
            format!("{program} ({process}) and {}", of(others.len() as u64, "more process"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Evidence;
    use crate::explain::context::Context;

    #[test]
    fn a_demand_is_held_against_the_least_that_the_share_may_have_been() {
        let mut report = Report::new(&Evidence::default(), &Context::default());
        // What was seen does not decide.
        report.total.by_reference_bytes = 1_000;
        let checked = |report: &Report, low, high| {
            let summary = Summary {
                tier: Tier::A,
                tier_why: None,
                seconds: 1.0,
                looked_percent: Some(7.0),
                budget_percent: Some(2.0),
                by_reference_interval: Some(Interval { low, high, looks: 99 }),
                followed: Vec::new(),
                left_running: Vec::new(),
                killed: Vec::new(),
                queued_bytes: 0,
                report: Some(report.clone()),
                counted: Vec::new(),
            };
            summary.check(95.0).map_err(|shortfall| shortfall.to_string())
        };
        assert_eq!(checked(&report, 95.0, 99.0), Ok(()));
        assert_eq!(
            checked(&report, 71.23, 98.0).unwrap_err(),
            "cannot be judged: 71.2 to 98 % of the file bytes left by reference, 95 % were \
             demanded; watch longer, or with --budget 100"
        );
        report.lost_events = 3;
        let lost = checked(&report, 95.0, 99.0).unwrap_err();
        assert!(lost.starts_with("cannot be judged: 3 events found the tables full"), "{lost}");
        report.lost_events = 0;
        let below = checked(&report, 20.0, 94.99).unwrap_err();
        assert!(below.starts_with("20 to 95 % of the file bytes left by reference"), "{below}");
    }
}
