//! The machine as its kernel describes it.
//!
//! Source: uname(2), proc_cpuinfo(5), proc_meminfo(5), tcp(7).

use super::report::Machine;
use crate::affinity::own_processors;
use crate::usage::field;

/// Looks at it.
pub(super) fn look(tier: char, tier_reason: String) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let name = model.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim());
    let congestion_control = read("/proc/sys/net/ipv4/tcp_congestion_control");
    Machine {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        processor: name.unwrap_or(std::env::consts::ARCH).to_owned(),
        processors: own_processors().len(),
        memory_bytes: field(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
        default_congestion_control: congestion_control.trim().to_owned(),
        tier,
        tier_reason,
    }
}
