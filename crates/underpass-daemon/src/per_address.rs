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

use crate::network::Network;

/// How many connections one client may have at a time.
#[derive(Debug, Clone)]
pub struct PerAddressLimit {
    /// This many.
    pub max: NonZeroUsize,
    /// Who connects for others: these are not counted by their own address.
    pub proxies: Vec<Network>,
}

/// The connections of all clients, and how many one may have.
#[derive(Debug)]
pub(crate) struct PerAddress {
    limit: PerAddressLimit,
    open: Mutex<HashMap<IpAddr, usize>>,
    refused: AtomicU64,
}

impl PerAddress {
    pub(crate) fn new(limit: PerAddressLimit) -> Self {
        Self { limit, open: Mutex::default(), refused: AtomicU64::new(0) }
    }

    /// A place for one more connection of this client's, if it may have one.
    pub(crate) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let network = network(client);
        let mut open = self.open();
        let count = open.entry(network).or_default();
        if *count >= self.limit.max.get() {
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

/// What a connection counts as: one of its client's, once it is known who that is.
#[derive(Debug, Default)]
pub(crate) struct OfClient {
    all: Option<Arc<PerAddress>>,
    place: Option<Place>,
}

impl OfClient {
    /// One of the peer's own, unless that connects for others. Nothing if it has as many as it may.
    pub(crate) fn of(all: Option<&Arc<PerAddress>>, peer: Option<IpAddr>) -> Option<Self> {
        let mut of_client = Self { all: all.cloned(), place: None };
        let is_proxy = |all: &Arc<PerAddress>| all.limit.proxies.iter().any(|it| it.has(peer));
        match peer.filter(|_| !all.is_some_and(is_proxy)) {
            Some(peer) => of_client.count_as(peer).then_some(of_client),
            None => Some(of_client),
        }
    }

    /// Counts it as this client's. `false` if that has as many as it may.
    pub(crate) fn count_as(&mut self, client: IpAddr) -> bool {
        let Some(all) = self.all.as_ref().filter(|_| self.place.is_none()) else { return true };
        self.place = all.take(client);
        self.place.is_some()
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
        let (max, proxies) = (NonZeroUsize::new(max).unwrap(), vec!["10.0.0.0/8".parse().unwrap()]);
        Arc::new(PerAddress::new(PerAddressLimit { max, proxies }))
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
    fn who_connects_for_others_is_not_counted_and_they_are() {
        let all = per_address(1);
        let of = |peer: Option<&str>| OfClient::of(Some(&all), peer.map(|it| it.parse().unwrap()));
        let client = "192.0.2.1".parse().unwrap();
        let (mut one, mut two) = (of(Some("10.0.0.1")).unwrap(), of(Some("10.0.0.1")).unwrap());
        assert!(one.count_as(client) && one.count_as(client), "once");
        assert!(!two.count_as(client));
        assert!(of(Some("192.0.2.1")).is_none(), "the same without a proxy");
        let _unix = (of(None).unwrap(), of(None).unwrap());
        drop(one);
        assert!(two.count_as(client));
        let unlimited = OfClient::of(None, Some(client));
        assert!(unlimited.is_some_and(|mut it| it.count_as(client)));
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
