//! Members and their group: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::groups::{
    Coordinator, Identity, Join, JoinAnswer, JoinedMember, Millis, Protocol, Refusal, Sync,
};
use crate::uuid::Uuid;
use crate::wire::ErrorCode;
use crate::wire::find_coordinator::{self, FindCoordinatorRequest, FindCoordinatorResponse};
use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// As Kafka's `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
const SESSION_TIMEOUTS: RangeInclusive<Millis> = 6_000..=1_800_000;

/// The most bytes of a group's name: what a string could have before there were compact ones.
const GROUP_ID_BYTES_MAX: usize = 32_767;

/// The kind of key that is the name of a group; the others are of transactions and shares.
const GROUP_KEY: i8 = 0;

/// The first version of JoinGroup whose senders can join again with the name they are given.
const JOINS_TWICE_FROM: i16 = 4;

/// The first version of JoinGroup that knows of no protocol.
const NULL_PROTOCOL_FROM: i16 = 7;

/// The first version of JoinGroup in which a leader can be told not to assign.
const SKIPS_ASSIGNMENT_FROM: i16 = 9;

/// The first version of SyncGroup whose senders must say what protocol they take the group for.
const PROTOCOL_FROM: i16 = 5;

/// The first version of LeaveGroup in which several members leave.
const LEAVE_MANY_FROM: i16 = 3;

/// Who sends a request, as groups describe their members.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) host: String,
}

/// The broker, as clients reach it.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) node_id: i32,
    pub(super) host: String,
    pub(super) port: i32,
}

/// What a group's refusal is in the protocol.
pub(super) const fn code(why: Refusal) -> ErrorCode {
    match why {
        Refusal::Unavailable => ErrorCode::CoordinatorNotAvailable,
        Refusal::UnknownMember => ErrorCode::UnknownMemberId,
        Refusal::MemberIdRequired => ErrorCode::MemberIdRequired,
        Refusal::FencedInstance => ErrorCode::FencedInstanceId,
        Refusal::IllegalGeneration => ErrorCode::IllegalGeneration,
        Refusal::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        Refusal::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        Refusal::GroupFull => ErrorCode::GroupMaxSizeReached,
        Refusal::UnknownGroup => ErrorCode::GroupIdNotFound,
        Refusal::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        Refusal::SubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        Refusal::TooMuchKept => ErrorCode::PolicyViolation,
    }
}

pub(super) fn code_of<T>(result: &Result<T, Refusal>) -> ErrorCode {
    result.as_ref().err().map_or(ErrorCode::None, |why| code(*why))
}

pub(super) const fn is_group_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= GROUP_ID_BYTES_MAX
}

/// This broker coordinates every group.
pub(super) fn find(
    broker: &Broker,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let is_group = request.key_type == GROUP_KEY;
    let error_code = if is_group { ErrorCode::None } else { ErrorCode::InvalidRequest };
    let why = "only groups have a coordinator here: there are no transactions";
    let error_message = (!is_group).then(|| why.to_owned());
    let node_id = if is_group { broker.node_id } else { -1 };
    let host = || if is_group { broker.host.clone() } else { String::new() };
    let port = if is_group { broker.port } else { -1 };
    if version < 4 {
        let host = host();
        return FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            host,
            port,
            ..FindCoordinatorResponse::default()
        };
    }
    let coordinator = |key| find_coordinator::Coordinator {
        key,
        node_id,
        host: host(),
        port,
        error_code,
        error_message: error_message.clone(),
    };
    let coordinators = request.coordinator_keys.into_iter().map(coordinator).collect();
    FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }
}

pub(super) async fn join(
    groups: &Coordinator,
    client: Client,
    request: JoinGroupRequest,
    version: i16,
) -> JoinGroupResponse {
    let JoinGroupRequest { group_id, member_id, group_instance_id, .. } = request;
    let refused = |error_code, member_id| JoinGroupResponse {
        error_code,
        member_id,
        protocol_name: no_protocol(version),
        ..JoinGroupResponse::default()
    };
    if !is_group_id(&group_id) {
        return refused(ErrorCode::InvalidGroupId, member_id);
    }
    let session_timeout = millis(request.session_timeout_ms);
    if !SESSION_TIMEOUTS.contains(&session_timeout) {
        return refused(ErrorCode::InvalidSessionTimeout, member_id);
    }
    let Ok(fresh_id) = fresh_id(group_instance_id.as_deref().unwrap_or(&client.id)) else {
        return refused(ErrorCode::UnknownServerError, member_id);
    };
    // Version 0 has no such field, and waits for as long as a session.
    let rebalance_timeout = match request.rebalance_timeout_ms {
        -1 => session_timeout,
        given => millis(given),
    };
    let protocols = request.protocols.into_iter().map(|protocol| Protocol {
        name: protocol.name,
        // What is kept must not keep the frame that it came in.
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    let join = Join {
        member_id,
        instance: group_instance_id,
        client_id: client.id,
        client_host: client.host,
        session_timeout,
        rebalance_timeout,
        protocol_type: request.protocol_type,
        protocols: protocols.collect(),
        fresh_id,
        joins_twice: version >= JOINS_TWICE_FROM,
        skips_assignment: version >= SKIPS_ASSIGNMENT_FROM,
    };
    match groups.join(&group_id, join).await {
        Err(why) => refused(code(why.why), why.member_id),
        joined @ Ok(_) => joined_response(joined, version),
    }
}

fn joined_response(joined: JoinAnswer, version: i16) -> JoinGroupResponse {
    let Ok(joined) = joined else { return JoinGroupResponse::default() };
    let member = |member: JoinedMember| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance,
        metadata: member.metadata,
    };
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type,
        protocol_name: joined.protocol.or_else(|| no_protocol(version)),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: joined.members.into_iter().map(member).collect(),
        ..JoinGroupResponse::default()
    }
}

/// How to say that there is no protocol.
fn no_protocol(version: i16) -> Option<String> {
    (version < NULL_PROTOCOL_FROM).then(String::new)
}

pub(super) async fn sync(
    groups: &Coordinator,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    let refused = |error_code| SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= PROTOCOL_FROM && !says_protocol {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    let assignments = request.assignments.into_iter();
    let assignments = assignments
        .map(|member| (member.member_id, Bytes::copy_from_slice(&member.assignment)))
        .collect();
    let sync = Sync {
        identity: Identity { member_id: request.member_id, instance: request.group_instance_id },
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments,
    };
    match groups.sync(&request.group_id, sync).await {
        Err(why) => refused(code(why)),
        Ok(synced) => SyncGroupResponse {
            protocol_type: synced.protocol_type,
            protocol_name: synced.protocol,
            assignment: synced.assignment,
            ..SyncGroupResponse::default()
        },
    }
}

pub(super) fn heartbeat(groups: &Coordinator, request: HeartbeatRequest) -> HeartbeatResponse {
    let HeartbeatRequest { group_id, generation_id, member_id, group_instance_id } = request;
    let identity = Identity { member_id, instance: group_instance_id };
    let heard = groups.heartbeat(&group_id, &identity, generation_id);
    HeartbeatResponse { error_code: code_of(&heard), ..HeartbeatResponse::default() }
}

pub(super) fn leave(
    groups: &Coordinator,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    if version < LEAVE_MANY_FROM {
        let who = Identity { member_id: request.member_id, instance: None };
        let left = groups.leave(&request.group_id, &[who]);
        let error_code = left.first().map_or(ErrorCode::UnknownMemberId, code_of);
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let who = request
        .members
        .into_iter()
        .map(|member| Identity { member_id: member.member_id, instance: member.group_instance_id });
    let who: Vec<Identity> = who.collect();
    let left = groups.leave(&request.group_id, &who);
    let member = |(identity, left): (Identity, Result<(), Refusal>)| MemberResponse {
        member_id: identity.member_id,
        group_instance_id: identity.instance,
        error_code: code_of(&left),
    };
    let members = who.into_iter().zip(left).map(member).collect();
    LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
}

fn millis(time: i32) -> Millis {
    Millis::try_from(time).unwrap_or(0)
}

/// A name that no member has, as Kafka makes them: the client's, and a random UUID.
fn fresh_id(client: &str) -> rustix::io::Result<String> {
    let digits = u128::from_be_bytes(Uuid::random()?.0);
    let [a, b, c, d] = [digits >> 96, digits >> 80, digits >> 64, digits >> 48];
    Ok(format!(
        "{client}-{a:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        b & 0xffff,
        c & 0xffff,
        d & 0xffff,
        digits & 0xffff_ffff_ffff
    ))
}
