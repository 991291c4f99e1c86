//! The part of a line that says which series its sample is of.

use super::{Format, quote};
use crate::labels::Labels;

/// Puts it behind what is there.
pub(super) fn push(labels: &Labels, format: Format, into: &mut Vec<u8>) {
    match format {
        Format::Text => text(labels, into),
        Format::OpenMetrics => open_metrics(labels, into),
        Format::Csv => csv(labels, into),
        Format::JsonLines => json(labels, into),
    }
}

/// `{__name__="up", job="node"} `, as promtool's dump.
///
/// Source: Prometheus, model/labels/labels_common.go, `Labels.String`.
fn text(labels: &Labels, into: &mut Vec<u8>) {
    into.push(b'{');
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            into.extend(b", ");
        }
        if quote::is_plain_label_name(name) {
            into.extend(name);
        } else {
            quote::go(name, into);
        }
        into.push(b'=');
        quote::go(value, into);
    }
    into.extend(b"} ");
}

/// `up{job="node"} `, as promtool's dump-openmetrics. What that writes so that it would not be read
/// back as it was is written as it must be: characters other than those three that are escaped, and
/// names that need quotes: `{"up.2","k8s.pod"="x"}`.
fn open_metrics(labels: &Labels, into: &mut Vec<u8>) {
    let metric = labels.metric();
    let is_plain = metric.is_empty() || quote::is_plain_metric_name(metric);
    if is_plain {
        into.extend(metric);
    }
    into.push(b'{');
    let mut is_first = is_plain;
    if !is_plain {
        quote::open_metrics(metric, into);
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != b"__name__") {
        if !is_first {
            into.push(b',');
        }
        is_first = false;
        if quote::is_plain_label_name(name) {
            into.extend(name);
        } else {
            quote::open_metrics(name, into);
        }
        into.push(b'=');
        quote::open_metrics(value, into);
    }
    into.extend(b"} ");
}

/// `up,"{""job"":""node""}",`
fn csv(labels: &Labels, into: &mut Vec<u8>) {
    quote::csv(labels.metric(), into);
    into.push(b',');
    let mut json = Vec::new();
    json_labels(labels.iter().filter(|(name, _)| *name != b"__name__"), &mut json);
    quote::csv(&json, into);
    into.push(b',');
}

/// `{"metric":{"__name__":"up","job":"node"},"timestamp":`
fn json(labels: &Labels, into: &mut Vec<u8>) {
    into.extend(b"{\"metric\":");
    json_labels(labels.iter(), into);
    into.extend(b",\"timestamp\":");
}

fn json_labels<'l>(labels: impl Iterator<Item = (&'l [u8], &'l [u8])>, into: &mut Vec<u8>) {
    into.push(b'{');
    for (at, (name, value)) in labels.enumerate() {
        if at > 0 {
            into.push(b',');
        }
        quote::json(name, into);
        into.push(b':');
        quote::json(value, into);
    }
    into.push(b'}');
}
