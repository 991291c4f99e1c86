//! How many connections each client has, by its address.
//!
//! An IPv6 client has a /64 and can have any address in it, so these are one. IPv4 addresses that
//! an IPv6 socket accepts are those that they stand for, and not all one /64.
//!
//! Source: RFC 4291 §2.5.4, §2.5.5.2; RFC 6177.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// The connections of all clients, and how many one may have.
#[derive(Debug)]
pub(crate) struct PerAddress {
    max: NonZeroUsize,
    open: Mutex<HashMap<IpAddr, usize>>,
    refused: AtomicU64,
}

impl PerAddress {
    pub(crate) fn new(max: NonZeroUsize) -> Self {
        Self { max, open: Mutex::default(), refused: AtomicU64::new(0) }
    }

    /// A place for one more connection of this client's, if it may have one.
    pub(crate) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let network = network(client);
        let mut open = self.open();
        let count = open.entry(network).or_default();
        if *count >= self.max.get() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        drop(open);
        Some(Place { all: Arc::clone(self), network })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a client's connections, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Place {
    all: Arc<PerAddress>,
    network: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.all.open();
        if let Entry::Occupied(mut count) = open.entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What one client has all the addresses of.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// How many were refused, as metrics say it.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Arc<PerAddress>);

impl Collector for Refused {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections refused, since their client had as many as it may";
        let family = encoder.encode_descriptor("refused", help, None, MetricType::Counter)?;
        ConstCounter::new(self.0.refused.load(Ordering::Relaxed)).encode(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_address(max: usize) -> Arc<PerAddress> {
        Arc::new(PerAddress::new(NonZeroUsize::new(max).unwrap()))
    }

    fn take(all: &Arc<PerAddress>, client: &str) -> Option<Place> {
        all.take(client.parse().unwrap())
    }

    #[test]
    fn a_client_gets_a_place_back_when_one_of_its_connections_ends() {
        let all = per_address(2);
        let (one, _two) = (take(&all, "192.0.2.1").unwrap(), take(&all, "192.0.2.1").unwrap());
        assert!(take(&all, "192.0.2.1").is_none());
        let _other = take(&all, "192.0.2.2").expect("each has its own");
        drop(one);
        let again = take(&all, "192.0.2.1").expect("a place is free");
        assert!(take(&all, "192.0.2.1").is_none());
        assert_eq!(all.refused.load(Ordering::Relaxed), 2);
        drop((again, _two, _other));
        assert!(all.open().is_empty(), "nothing is kept of clients that are gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_ipv4_within_ipv6_is_ipv4() {
        let all = per_address(1);
        let _one = take(&all, "2001:db8::1").unwrap();
        assert!(take(&all, "2001:db8::ffff:1:2:3").is_none());
        let _next = take(&all, "2001:db8:0:1::1").expect("another /64");
        let _mapped = take(&all, "::ffff:192.0.2.1").unwrap();
        let _other = take(&all, "::ffff:192.0.2.2").expect("another client");
        assert!(take(&all, "192.0.2.1").is_none(), "the same client");
    }
}
