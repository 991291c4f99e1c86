//! The targets, and which of them the next connection goes to: the one with the fewest.
//!
//! Workers count connections together but choose by themselves, so two that choose at the same
//! moment may choose the same target; the next ones make up for it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use underpass_daemon::endpoint::Endpoint;

/// Why a target was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It answered that nothing listens there.
    Refused,
    /// It did not answer within the connect timeout.
    TimedOut,
    /// Any other error of connect(2).
    Unreachable,
    /// It reset a connection that was made.
    Reset,
    /// Not its fault: there was no descriptor or memory for a connection to it.
    OwnLimit,
}

impl Failure {
    /// Every reason.
    pub(crate) const ALL: [Self; 5] =
        [Self::Refused, Self::TimedOut, Self::Unreachable, Self::Reset, Self::OwnLimit];

    /// The word for it in metrics and log lines.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed-out",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::OwnLimit => "own-limit",
        }
    }
}

/// One target and what is known of it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// A name's addresses as they were looked up last; the one that answered last is the first.
    addresses: RwLock<Arc<[SocketAddr]>>,
    /// Whether the name was not found when it was looked up last.
    is_lost: AtomicBool,
    is_up: AtomicBool,
    open: AtomicUsize,
    connections: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
}

impl Target {
    fn new(endpoint: Endpoint) -> Self {
        let (addresses, is_lost, open, connections, failures) = Default::default();
        let is_up = AtomicBool::new(true);
        Self { endpoint, addresses, is_lost, is_up, open, connections, failures }
    }

    /// Whether its addresses have to be looked up.
    pub(crate) const fn is_named(&self) -> bool {
        matches!(self.endpoint, Endpoint::Name(_))
    }

    pub(crate) fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.addresses.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        let mut known = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        // Name servers give them in any order; the one that answered stays the first.
        let preferred = known.first().copied();
        *known = with_first(&addresses, preferred).into();
    }

    /// From now on this address is tried first.
    pub(crate) fn prefer(&self, address: SocketAddr) {
        if self.addresses().first() != Some(&address) {
            let mut known = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
            *known = with_first(&known, Some(address)).into();
        }
    }

    /// Notes whether the name was found, and gives what was so before.
    pub(crate) fn set_lost(&self, is_lost: bool) -> bool {
        self.is_lost.swap(is_lost, Ordering::Relaxed)
    }

    /// Whether it passed its last checks, or was never checked.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    pub(crate) fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.failures[failure as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failures(&self, failure: Failure) -> u64 {
        self.failures[failure as usize].load(Ordering::Relaxed)
    }

    /// Connections relayed to it now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections made to it so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }
}

/// The addresses, beginning with one of them.
fn with_first(addresses: &[SocketAddr], first: Option<SocketAddr>) -> Vec<SocketAddr> {
    let is_first = |address: &&SocketAddr| Some(**address) == first;
    let rest = addresses.iter().filter(|address| !is_first(address));
    addresses.iter().filter(is_first).chain(rest).copied().collect()
}

/// All targets at one time; a reload makes a new set.
#[derive(Debug)]
pub(crate) struct TargetSet {
    targets: Vec<Arc<Target>>,
    /// Where the search starts, so that among equals each has its turn.
    turn: AtomicUsize,
}

impl TargetSet {
    /// A set of these endpoints, which takes over what `before` knows of them.
    pub(crate) fn new(endpoints: Vec<Endpoint>, before: Option<&Self>) -> Self {
        let known = |endpoint: &Endpoint| {
            let targets = before.map_or(&[][..], |set| &set.targets);
            targets.iter().find(|target| target.endpoint == *endpoint).map(Arc::clone)
        };
        let mut targets: Vec<Arc<Target>> = Vec::new();
        for endpoint in endpoints {
            if targets.iter().all(|target| target.endpoint != endpoint) {
                let target = known(&endpoint);
                targets.push(target.unwrap_or_else(|| Arc::new(Target::new(endpoint))));
            }
        }
        Self { targets, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// A target that leads to one of these endpoints, if there is one.
    pub(crate) fn leading_to(&self, own: &[Endpoint]) -> Option<Endpoint> {
        let leads = |target: &&Arc<Target>| {
            let mut named =
                target.addresses().iter().map(|it| Endpoint::Tcp(*it)).collect::<Vec<_>>();
            named.push(target.endpoint.clone());
            named.iter().any(|it| it.leads_to_one_of(own))
        };
        self.targets.iter().find(leads).map(|target| target.endpoint.clone())
    }

    /// The target that is up and has the fewest connections, apart from those tried already.
    pub(crate) fn choose(&self, tried: &[Arc<Target>]) -> Option<Lease> {
        let turn = match self.targets.len() {
            0 => return None,
            1 => 0,
            len => self.turn.fetch_add(1, Ordering::Relaxed) % len,
        };
        let (first, second) = self.targets.split_at(turn);
        let is_wanted = |target: &&Arc<Target>| {
            target.is_up() && !tried.iter().any(|other| Arc::ptr_eq(other, target))
        };
        let in_turn = second.iter().chain(first).filter(is_wanted);
        in_turn.min_by_key(|target| target.open()).map(Lease::new)
    }
}

/// One of a target's connections, counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Target>);

impl Lease {
    fn new(target: &Arc<Target>) -> Self {
        target.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(target))
    }

    pub(crate) const fn target(&self) -> &Arc<Target> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ports: &[u16]) -> TargetSet {
        TargetSet::new(ports.iter().map(|&port| endpoint(port)).collect(), None)
    }

    fn endpoint(port: u16) -> Endpoint {
        port.to_string().parse().unwrap()
    }

    #[test]
    fn connections_go_where_the_fewest_are_and_in_turn_among_equals() {
        let set = set(&[1, 2, 3]);
        let mut leases: Vec<Lease> = (0..9).map(|_| set.choose(&[]).unwrap()).collect();
        assert_eq!(set.targets().iter().map(|t| t.open()).collect::<Vec<_>>(), [3, 3, 3]);
        leases.retain(|lease| lease.target().endpoint != endpoint(2));
        for _ in 0..3 {
            let lease = set.choose(&[]).unwrap();
            assert_eq!(lease.target().endpoint, endpoint(2));
            leases.push(lease);
        }
    }

    #[test]
    fn a_target_that_is_down_or_was_tried_is_not_chosen() {
        let set = set(&[1, 2]);
        set.targets()[0].set_up(false);
        let lease = set.choose(&[]).unwrap();
        assert_eq!(lease.target().endpoint, endpoint(2));
        assert!(set.choose(&[Arc::clone(lease.target())]).is_none());
        set.targets()[0].set_up(true);
        let other = set.choose(&[Arc::clone(lease.target())]).unwrap();
        assert_eq!(other.target().endpoint, endpoint(1));
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_targets_that_stay() {
        let before = set(&[1, 2]);
        before.targets()[1].set_up(false);
        let kept = before.choose(&[]).unwrap();
        let after = TargetSet::new(vec![endpoint(2), endpoint(3), endpoint(3)], Some(&before));
        assert_eq!(after.targets().len(), 2);
        assert!(!after.targets()[0].is_up());
        assert_eq!(after.choose(&[]).unwrap().target().endpoint, endpoint(3));
        drop(kept);
        assert_eq!(before.targets()[0].open(), 0);
    }
}
