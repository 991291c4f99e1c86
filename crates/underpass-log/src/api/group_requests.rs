//! Requests about groups, read, handed to those who answer them, and their answers written.

use super::{Answer, Asked, Refusal, group_admin, groups, metadata, offsets};
use crate::connection::Connection;
use crate::uuid::Uuid;

/// What comes of a request.
type Answered = Result<Answer, Refusal>;

pub(super) fn find_coordinator(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let (host, port) = metadata::address(connection);
    let broker = groups::Broker { node_id: connection.worker.shared.node_id, host, port };
    let request = asked.read()?;
    Ok(asked.answer(&groups::find(&broker, request, asked.header.version)))
}

pub(super) async fn join(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    let id = asked.header.client_id.clone().unwrap_or_default();
    let client = groups::Client { id, host: connection.client_host() };
    let groups = &connection.worker.shared.groups;
    Ok(asked.answer(&groups::join(groups, client, request, asked.header.version).await))
}

pub(super) async fn sync(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    let groups = &connection.worker.shared.groups;
    Ok(asked.answer(&groups::sync(groups, request, asked.header.version).await))
}

pub(super) fn heartbeat(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    Ok(asked.answer(&groups::heartbeat(&connection.worker.shared.groups, request)))
}

pub(super) fn leave(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    let groups = &connection.worker.shared.groups;
    Ok(asked.answer(&groups::leave(groups, request, asked.header.version)))
}

pub(super) fn describe(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    Ok(asked.answer(&group_admin::describe(&connection.worker.shared.groups, request)))
}

pub(super) fn list(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    Ok(asked.answer(&group_admin::list(&connection.worker.shared.groups, &request)))
}

pub(super) async fn delete(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    Ok(asked.answer(&group_admin::delete(&connection.worker.shared.groups, request).await))
}

pub(super) async fn commit(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    let groups = &connection.worker.shared.groups;
    Ok(asked.answer(&offsets::commit(groups, topic_ids(connection), request).await))
}

pub(super) fn fetch(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    let (groups, ids) = (&connection.worker.shared.groups, topic_ids(connection));
    Ok(asked.answer(&offsets::fetch(groups, ids, request, asked.header.version)))
}

pub(super) async fn delete_offsets(connection: &Connection, mut asked: Asked<'_>) -> Answered {
    let request = asked.read()?;
    let groups = &connection.worker.shared.groups;
    Ok(asked.answer(&offsets::delete(groups, topic_ids(connection), request).await))
}

/// The id of a topic that has the partition, as things are.
fn topic_ids(connection: &Connection) -> impl Fn(&str, i32) -> Option<Uuid> + use<> {
    let topics = connection.worker.shared.topics.snapshot();
    move |name, partition| {
        topics.get(name).filter(|topic| topic.partition(partition).is_some()).map(|it| it.id())
    }
}
