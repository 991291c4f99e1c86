//! What a server does for the origins of its sites.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::sites::Checked;

/// Has the metrics tell of origins.
#[cfg(feature = "remote")]
pub(crate) fn collect(metrics: &mut Registry, sites: &watch::Sender<Arc<Checked>>) {
    metrics.register_collector(Box::new(crate::origin::Collected(sites.clone())));
}

/// What is done for origins while the server runs, from when it is confined.
#[cfg(feature = "remote")]
pub(crate) fn background(sites: &watch::Sender<Arc<Checked>>) -> impl Future<Output = ()> + use<> {
    crate::origin::background::run(sites.subscribe())
}

/// Ends what is under way at origins: the server has ended.
#[cfg(feature = "remote")]
pub(crate) fn close(sites: &watch::Sender<Arc<Checked>>) {
    let sites = Arc::clone(&sites.borrow());
    sites.options().filter_map(|site| site.origin.as_ref()).for_each(|origin| origin.close());
}

/// A build without origins has none.
#[cfg(not(feature = "remote"))]
pub(crate) const fn close(_: &watch::Sender<Arc<Checked>>) {}

/// A build without origins has none.
#[cfg(not(feature = "remote"))]
pub(crate) const fn collect(_: &mut Registry, _: &watch::Sender<Arc<Checked>>) {}

/// A build without origins has none.
#[cfg(not(feature = "remote"))]
pub(crate) fn background(_: &watch::Sender<Arc<Checked>>) -> impl Future<Output = ()> + use<> {
    std::future::ready(())
}
