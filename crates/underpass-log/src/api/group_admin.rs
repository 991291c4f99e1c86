//! Groups, for operators: DescribeGroups, ListGroups, DeleteGroups.

use std::collections::BTreeSet;

use super::groups::{code_of, is_group_id};
use crate::groups::{Coordinator, DescribedMember, Description};
use crate::wire::ErrorCode;
use crate::wire::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use crate::wire::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

/// Read, delete and describe: what may be done with a group, by the numbers of Kafka's
/// `AclOperation` as bits.
const OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8;

/// The state of a group that there is not.
const DEAD: &str = "Dead";

/// The state in which members have been assigned what they say and are assigned.
const STABLE: &str = "Stable";

/// A group that is asked for several times is described once.
pub(super) fn describe(
    groups: &Coordinator,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let names: BTreeSet<String> = request.groups.into_iter().collect();
    let asked = request.include_authorized_operations;
    let described = names.into_iter().map(|name| {
        let mut group = match groups.describe(&name) {
            Some(description) => described(name, description),
            None => dead(name),
        };
        group.authorized_operations = if asked { OPERATIONS } else { i32::MIN };
        group
    });
    DescribeGroupsResponse { groups: described.collect(), ..DescribeGroupsResponse::default() }
}

/// As Kafka before version 6: no error, and a state that says it.
fn dead(group_id: String) -> DescribedGroup {
    let error_code =
        if is_group_id(&group_id) { ErrorCode::None } else { ErrorCode::InvalidGroupId };
    let group_state = DEAD.to_owned();
    DescribedGroup { error_code, group_id, group_state, ..DescribedGroup::default() }
}

fn described(group_id: String, description: Description) -> DescribedGroup {
    let Description { state, protocol_type, protocol, members } = description;
    let is_stable = state == STABLE;
    let member = |member: DescribedMember| DescribedGroupMember {
        member_id: member.seen.member_id,
        group_instance_id: member.seen.instance,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: if is_stable { member.seen.metadata } else { bytes::Bytes::new() },
        member_assignment: if is_stable { member.assignment } else { bytes::Bytes::new() },
    };
    DescribedGroup {
        group_id,
        group_state: state.to_owned(),
        protocol_type,
        protocol_data: if is_stable { protocol } else { String::new() },
        members: members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}

pub(super) fn list(groups: &Coordinator, request: &ListGroupsRequest) -> ListGroupsResponse {
    let wanted = &request.states_filter;
    let is_wanted = |state: &str| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(state))
    };
    let listed = groups.list().into_iter().filter(|(_, _, state)| is_wanted(state));
    let listed = listed.map(|(group_id, protocol_type, state)| ListedGroup {
        group_id,
        protocol_type,
        group_state: state.to_owned(),
    });
    ListGroupsResponse { groups: listed.collect(), ..ListGroupsResponse::default() }
}

pub(super) async fn delete(
    groups: &Coordinator,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::new();
    for group_id in request.groups_names {
        let error_code = if is_group_id(&group_id) {
            code_of(&groups.delete(&group_id).await)
        } else {
            ErrorCode::InvalidGroupId
        };
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
