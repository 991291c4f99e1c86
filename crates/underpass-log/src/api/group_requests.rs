//! Requests about groups, handed to those who answer them with what they need of the connection.

use super::{Answer, Asked, Refusal, group_admin, groups, metadata, offsets};
use crate::connection::Connection;
use crate::groups::Coordinator;
use crate::uuid::Uuid;

/// What comes of a request.
type Answered = Result<Answer, Refusal>;

pub(super) async fn find_coordinator(connection: &Connection, asked: Asked<'_>) -> Answered {
    let (host, port) = metadata::address(connection);
    let broker = groups::Broker { node_id: connection.worker.shared.node_id, host, port };
    let version = asked.header.version;
    asked.with(async |request| groups::find(&broker, request, version)).await
}

pub(super) async fn join(connection: &Connection, asked: Asked<'_>) -> Answered {
    let id = asked.header.client_id.clone().unwrap_or_default();
    let client = groups::Client { id, host: connection.client_host() };
    let (groups, version) = (coordinator(connection), asked.header.version);
    asked.with(async |request| groups::join(groups, client, request, version).await).await
}

pub(super) async fn sync(connection: &Connection, asked: Asked<'_>) -> Answered {
    let (groups, version) = (coordinator(connection), asked.header.version);
    asked.with(async |request| groups::sync(groups, request, version).await).await
}

pub(super) async fn heartbeat(connection: &Connection, asked: Asked<'_>) -> Answered {
    asked.with(async |request| groups::heartbeat(coordinator(connection), request)).await
}

pub(super) async fn leave(connection: &Connection, asked: Asked<'_>) -> Answered {
    let (groups, version) = (coordinator(connection), asked.header.version);
    asked.with(async |request| groups::leave(groups, request, version)).await
}

pub(super) async fn describe(connection: &Connection, asked: Asked<'_>) -> Answered {
    asked.with(async |request| group_admin::describe(coordinator(connection), request)).await
}

pub(super) async fn list(connection: &Connection, asked: Asked<'_>) -> Answered {
    asked.with(async |request| group_admin::list(coordinator(connection), &request)).await
}

pub(super) async fn delete(connection: &Connection, asked: Asked<'_>) -> Answered {
    asked.with(async |request| group_admin::delete(coordinator(connection), request).await).await
}

pub(super) async fn commit(connection: &Connection, asked: Asked<'_>) -> Answered {
    let (groups, ids) = (coordinator(connection), topic_ids(connection));
    asked.with(async |request| offsets::commit(groups, ids, request).await).await
}

pub(super) async fn fetch(connection: &Connection, asked: Asked<'_>) -> Answered {
    let (groups, ids) = (coordinator(connection), topic_ids(connection));
    let version = asked.header.version;
    asked.with(async |request| offsets::fetch(groups, ids, request, version)).await
}

pub(super) async fn delete_offsets(connection: &Connection, asked: Asked<'_>) -> Answered {
    let (groups, ids) = (coordinator(connection), topic_ids(connection));
    asked.with(async |request| offsets::delete(groups, ids, request).await).await
}

fn coordinator(connection: &Connection) -> &Coordinator {
    &connection.worker.shared.groups
}

/// The id of a topic that has the partition, as things are.
fn topic_ids(connection: &Connection) -> impl Fn(&str, i32) -> Option<Uuid> + use<> {
    let topics = connection.worker.shared.topics.snapshot();
    move |name, partition| {
        topics.get(name).filter(|topic| topic.partition(partition).is_some()).map(|it| it.id())
    }
}
