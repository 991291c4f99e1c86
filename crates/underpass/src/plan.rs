//! Which methods to try, and in which order: pure, total, no I/O.
//!
//! What the kernel itself refuses is learnt by calling it; this table holds only what the kinds
//! of the two ends rule out, and what is worth trying first. sendfile(2) writes to a regular
//! file only at that descriptor's own offset, which the engine never uses: so it is absent for
//! file sinks, where splice(2) and copy_file_range(2) take an explicit one.
//!
//! Source: sendfile(2) ("in_fd ... cannot be a socket"), splice(2) ("one of the file descriptors
//! must refer to a pipe"), copy_file_range(2), Documentation/networking/msg_zerocopy.rst.

use crate::kind::Kind;
use crate::limits::COPY_MAX;
use crate::method::Method;
use crate::policy::Policy;
use crate::stability::Stability;

/// The methods `Auto` tries, best first; never empty, and the last is always `Copy`.
pub(crate) fn auto(source: Kind, sink: Kind, len: Option<u64>) -> &'static [Method] {
    use Method::{Copy, CopyFileRange, Sendfile, Splice};
    match (source, sink) {
        (Kind::File, Kind::Socket) if len.is_some_and(|len| len <= COPY_MAX) => &[Copy],
        (Kind::File, Kind::Socket) => &[Sendfile, Splice, Copy],
        (Kind::File, Kind::Pipe) => &[Splice, Sendfile, Copy],
        (Kind::File, Kind::File) => &[CopyFileRange, Splice, Copy],
        (Kind::File, Kind::Other) => &[Sendfile, Copy],
        (Kind::Socket | Kind::Pipe, Kind::Socket | Kind::Pipe | Kind::File) => &[Splice, Copy],
        // MSG_ZEROCOPY is never chosen unasked: on loopback it ends in a copy, and on any
        // socket it leaves completions that the caller must collect.
        (Kind::Memory | Kind::Other | Kind::Tls, _)
        | (_, Kind::Memory | Kind::Other | Kind::Tls) => &[Copy],
    }
}

/// Whether the two kinds leave `method` possible at all.
pub(crate) fn supports(method: Method, source: Kind, sink: Kind) -> bool {
    let ring = cfg!(feature = "uring");
    if source == Kind::Tls || sink == Kind::Tls {
        return method == Method::Copy;
    }
    match method {
        Method::Copy => true,
        Method::MmapWrite => source == Kind::File,
        Method::Sendfile => source == Kind::File && sink != Kind::File,
        Method::Splice => source != Kind::Memory,
        Method::CopyFileRange | Method::Clone => source == Kind::File && sink == Kind::File,
        Method::ZeroCopySend => matches!(source, Kind::File | Kind::Memory) && sink == Kind::Socket,
        Method::UringSendZc => {
            ring && matches!(source, Kind::File | Kind::Memory) && sink == Kind::Socket
        }
        Method::UringSplice => ring && source == Kind::File && sink == Kind::Socket,
    }
}

/// The method in use for one piece of a transfer, and those left to fall back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The method in use.
    pub(crate) method: Method,
    /// A preferred method that the kinds or the stability policy ruled out.
    pub(crate) declined: Option<Method>,
    first: Method,
    rest: &'static [Method],
}

impl Plan {
    /// Chooses for one piece; `None` where `Only` names a method that cannot be used.
    pub(crate) fn choose(
        source: Kind,
        sink: Kind,
        len: Option<u64>,
        policy: Policy,
        stability: Stability,
    ) -> Option<Self> {
        let copies_only = source == Kind::File && stability == Stability::Copy;
        let allowed = |m| supports(m, source, sink) && (m == Method::Copy || !copies_only);
        let order = if copies_only { &[Method::Copy] } else { auto(source, sink, len) };
        let starting = |first, declined, rest| Self { method: first, declined, first, rest };
        match policy {
            Policy::Only(m) => allowed(m).then(|| starting(m, None, &[])),
            Policy::Prefer(m) if allowed(m) => Some(starting(m, None, order)),
            Policy::Prefer(m) => Some(starting(order[0], Some(m), &order[1..])),
            Policy::Auto => Some(starting(order[0], None, &order[1..])),
        }
    }

    /// Turns to the next method; `None` if there is none.
    pub(crate) fn fall_back(&mut self) -> Option<Method> {
        while let Some((&next, rest)) = self.rest.split_first() {
            self.rest = rest;
            if next != self.first {
                self.method = next;
                return Some(next);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 6] =
        [Kind::File, Kind::Memory, Kind::Socket, Kind::Pipe, Kind::Tls, Kind::Other];

    #[test]
    fn every_order_is_of_possible_methods_and_ends_in_copy() {
        for source in KINDS {
            for sink in KINDS {
                for len in [None, Some(0), Some(COPY_MAX), Some(COPY_MAX + 1)] {
                    let order = auto(source, sink, len);
                    assert_eq!(order.last(), Some(&Method::Copy), "{source} -> {sink}");
                    assert!(order.iter().all(|&m| supports(m, source, sink)));
                }
            }
        }
    }

    #[test]
    fn a_file_goes_to_a_socket_by_copy_up_to_the_threshold_and_by_sendfile_above() {
        let chosen = |len| {
            let (none, auto) = (Stability::None, Policy::Auto);
            Plan::choose(Kind::File, Kind::Socket, Some(len), auto, none).unwrap().method
        };
        assert_eq!((chosen(COPY_MAX), chosen(COPY_MAX + 1)), (Method::Copy, Method::Sendfile));
    }

    #[test]
    fn a_preference_comes_first_and_once() {
        let prefer = Policy::Prefer(Method::Splice);
        let mut plan =
            Plan::choose(Kind::File, Kind::Socket, None, prefer, Stability::None).unwrap();
        let mut tried = vec![plan.method];
        tried.extend(std::iter::from_fn(|| plan.fall_back()));
        assert_eq!(tried, [Method::Splice, Method::Sendfile, Method::Copy]);
    }

    #[test]
    fn an_impossible_preference_is_declined_and_an_impossible_demand_refused() {
        let choose = |policy, stability| {
            Plan::choose(Kind::File, Kind::Socket, Some(1 << 20), policy, stability)
        };
        let m = Method::CopyFileRange;
        let plan = choose(Policy::Prefer(m), Stability::None).unwrap();
        assert_eq!((plan.method, plan.declined), (Method::Sendfile, Some(m)));
        assert_eq!(choose(Policy::Only(m), Stability::None), None);
        let only = choose(Policy::Only(Method::Splice), Stability::None);
        assert_eq!(only.unwrap().fall_back(), None);
    }

    #[test]
    fn the_stability_policy_copy_leaves_no_other_method() {
        for &m in Method::ALL {
            let plan =
                Plan::choose(Kind::File, Kind::Socket, None, Policy::Prefer(m), Stability::Copy);
            let mut plan = plan.unwrap();
            assert_eq!((plan.method, plan.fall_back()), (Method::Copy, None), "{m}");
        }
    }
}
