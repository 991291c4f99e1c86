//! What the metrics of a relay say; counts are read when they are asked for.
//!
//! Source: OpenMetrics 1.0, "Text format".

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use tokio::sync::watch;
use underpass::PipeSize;
use underpass_daemon::metrics::gauge;

use crate::end::{End, Ends};
use crate::tally::{Direction, METHODS, Tally};
use crate::targets::{Failure, TargetSet};

/// What is counted.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) ends: Arc<Ends>,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) targets: watch::Receiver<Arc<TargetSet>>,
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_bytes(&mut encoder)?;
        self.encode_connections(&mut encoder)?;
        self.encode_targets(&mut encoder)
    }
}

impl Counters {
    fn encode_bytes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Bytes relayed, by direction and by the method that moved them";
        let unit = Some(&Unit::Bytes);
        let mut family = encoder.encode_descriptor("relayed", help, unit, MetricType::Counter)?;
        for direction in Direction::ALL {
            for method in METHODS {
                let bytes = self.tallies.iter().map(|tally| tally.bytes(direction, method)).sum();
                let labels = [("direction", direction.name()), ("method", method.name())];
                ConstCounter::<u64>::new(bytes).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Pipes asked of the kernel, and whether they came out as large as asked for";
        let mut family = encoder.encode_descriptor("pipes", help, None, MetricType::Counter)?;
        for size in PipeSize::ALL {
            let labels = [("size", size.name())];
            ConstCounter::<u64>::new(size.count()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let accepted = ConstCounter::new(self.ends.accepted());
        let help = "Connections accepted";
        let family = encoder.encode_descriptor("accepted", help, None, MetricType::Counter)?;
        accepted.encode(family)?;
        let strangers = ConstCounter::new(self.ends.strangers());
        let help = "Connections from outside of the trusted networks, without a PROXY header";
        let family = encoder.encode_descriptor("strangers", help, None, MetricType::Counter)?;
        strangers.encode(family)?;
        let help = "Connections that have ended, and how";
        let mut family = encoder.encode_descriptor("ended", help, None, MetricType::Counter)?;
        let mut all = 0;
        for end in End::ALL {
            let ended = self.ends.ended(end);
            all += ended;
            let labels = [("end", end.name())];
            ConstCounter::new(ended).encode(family.encode_family(&labels)?)?;
        }
        let help = "Connections open now";
        let family = encoder.encode_descriptor("open", help, None, MetricType::Gauge)?;
        // Read one after the other, so that one may have ended that was not yet counted.
        gauge(self.ends.accepted().saturating_sub(all)).encode(family)
    }

    fn encode_targets(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let set = Arc::clone(&self.targets.borrow());
        let named: Vec<_> = set.targets().iter().map(|t| (t.endpoint.to_string(), t)).collect();
        let help = "Whether a target gets connections";
        let mut family = encoder.encode_descriptor("target_up", help, None, MetricType::Gauge)?;
        for (name, target) in &named {
            let labels = [("target", name.as_str())];
            gauge(target.is_up().into()).encode(family.encode_family(&labels)?)?;
        }
        let help = "Connections relayed to a target now";
        let mut family = encoder.encode_descriptor("target_open", help, None, MetricType::Gauge)?;
        for (name, target) in &named {
            let labels = [("target", name.as_str())];
            gauge(target.open() as u64).encode(family.encode_family(&labels)?)?;
        }
        let (name, kind) = ("target_connections", MetricType::Counter);
        let mut family = encoder.encode_descriptor(name, "Connections made to it", None, kind)?;
        for (name, target) in &named {
            let labels = [("target", name.as_str())];
            ConstCounter::new(target.connections()).encode(family.encode_family(&labels)?)?;
        }
        let help = "Connections to a target that were not made, or broken by it, and why";
        let mut family = encoder.encode_descriptor("target_failures", help, None, kind)?;
        for (name, target) in &named {
            for failure in Failure::ALL {
                let labels = [("target", name.as_str()), ("reason", failure.name())];
                let count = ConstCounter::new(target.failures(failure));
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
