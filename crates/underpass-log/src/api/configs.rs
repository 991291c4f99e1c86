//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
//!
//! Topics have settings that clients change; the broker's own are flags, and shown alone.
//!
//! Source: Kafka's `ConfigResource.java`, `AlterConfigOp.java`, `ConfigHelper.scala`.

mod shown;

use std::collections::HashSet;

use super::topics::counted;
use crate::connection::Connection;
use crate::server::Shared;
use crate::topics::TopicFault;
use crate::topics::config::{self, ConfigFault, Overrides};
use crate::wire::ErrorCode;
use crate::wire::alter_configs::{self, AlterConfigsRequest, AlterConfigsResponse};
use crate::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult,
};
use crate::wire::incremental_alter_configs::{
    self, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use shown::Shown;
pub(super) use shown::of_new_topic;

/// Kinds of what has settings.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// What is done to a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Why a resource's part of a request is not done.
struct Refused(ErrorCode, String);

impl From<TopicFault> for Refused {
    fn from(fault: TopicFault) -> Self {
        Self(fault.code(), fault.to_string())
    }
}

impl From<ConfigFault> for Refused {
    fn from(fault: ConfigFault) -> Self {
        TopicFault::from(fault).into()
    }
}

/// Shows settings.
pub(super) fn describe(
    connection: &Connection,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let shared = &connection.worker.shared;
    let (with_synonyms, with_notes) = (request.include_synonyms, request.include_documentation);
    let results = request.resources.into_iter().map(|resource| {
        let shown = settings(shared, &resource);
        let (error_code, error_message, configs) = match shown {
            Ok(shown) => {
                let wanted = shown.into_iter().filter(|one| is_wanted(&resource, one));
                let configs = wanted.map(|one| one.described(with_synonyms, with_notes));
                (ErrorCode::None, None, configs.collect::<Vec<DescribeConfigsResourceResult>>())
            }
            Err(Refused(code, message)) => (code, Some(message), Vec::new()),
        };
        let DescribeConfigsResource { resource_type, resource_name, .. } = resource;
        DescribeConfigsResult { error_code, error_message, resource_type, resource_name, configs }
    });
    DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
}

fn settings(shared: &Shared, resource: &DescribeConfigsResource) -> Result<Vec<Shown>, Refused> {
    let name = &resource.resource_name;
    match resource.resource_type {
        TOPIC => match shared.topics.get(name) {
            Some(topic) => Ok(shown::of_topic(shared.topics.defaults(), topic.overrides())),
            None => Err(TopicFault::Unknown(name.clone()).into()),
        },
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if *name == shared.node_id.to_string() => Ok(shown::of_broker(shared)),
        BROKER => {
            let message = format!("there is no broker {name}; this one is {}", shared.node_id);
            Err(Refused(ErrorCode::InvalidRequest, message))
        }
        other => Err(unknown_kind(other)),
    }
}

/// No keys, as null, are all.
fn is_wanted(resource: &DescribeConfigsResource, shown: &Shown) -> bool {
    let keys = resource.configuration_keys.as_deref().unwrap_or_default();
    keys.is_empty() || keys.iter().any(|key| key == shown.name)
}

fn unknown_kind(kind: i8) -> Refused {
    let message = format!("resources of type {kind} have no settings here; topics (2) have");
    Refused(ErrorCode::InvalidRequest, message)
}

/// Replaces all that was set for topics. Waits for the disk.
pub(super) fn replace(shared: &Shared, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let wanted = request.resources.into_iter().map(|resource| {
        let changes = resource.configs.into_iter().map(|config| Change {
            name: config.name,
            operation: SET,
            value: config.value,
        });
        Wanted {
            kind: resource.resource_type,
            name: resource.resource_name,
            is_all: true,
            changes: changes.collect(),
        }
    });
    let outcomes = alter_all(shared, wanted.collect(), request.validate_only);
    let responses = outcomes.into_iter().map(|Outcome { kind, name, code, message }| {
        alter_configs::AlterConfigsResourceResponse {
            error_code: code,
            error_message: message,
            resource_type: kind,
            resource_name: name,
        }
    });
    AlterConfigsResponse { responses: responses.collect(), ..AlterConfigsResponse::default() }
}

/// Changes settings of topics one by one, all of a topic or none. Waits for the disk.
pub(super) fn change(
    shared: &Shared,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let wanted = request.resources.into_iter().map(|resource| {
        let changes = resource.configs.into_iter().map(|config| Change {
            name: config.name,
            operation: config.config_operation,
            value: config.value,
        });
        Wanted {
            kind: resource.resource_type,
            name: resource.resource_name,
            is_all: false,
            changes: changes.collect(),
        }
    });
    let outcomes = alter_all(shared, wanted.collect(), request.validate_only);
    let responses = outcomes.into_iter().map(|Outcome { kind, name, code, message }| {
        incremental_alter_configs::AlterConfigsResourceResponse {
            error_code: code,
            error_message: message,
            resource_type: kind,
            resource_name: name,
        }
    });
    let responses = responses.collect();
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

/// One change of one setting.
struct Change {
    name: String,
    operation: i8,
    value: Option<String>,
}

/// What is to become of one resource.
struct Wanted {
    kind: i8,
    name: String,
    /// Whether what is not named gets its default.
    is_all: bool,
    changes: Vec<Change>,
}

/// What became of it.
struct Outcome {
    kind: i8,
    name: String,
    code: ErrorCode,
    message: Option<String>,
}

fn alter_all(shared: &Shared, wanted: Vec<Wanted>, validate_only: bool) -> Vec<Outcome> {
    let counts = counted(wanted.iter().map(|wanted| (wanted.kind, wanted.name.clone())));
    let outcomes = wanted.into_iter().map(|wanted| {
        let done = match counts.get(&(wanted.kind, wanted.name.clone())) {
            Some(1) => alter(shared, &wanted, validate_only),
            _ => Err(twice(&wanted.name)),
        };
        let (code, message) = match done {
            Ok(()) => (ErrorCode::None, None),
            Err(Refused(code, message)) => (code, Some(message)),
        };
        Outcome { kind: wanted.kind, name: wanted.name, code, message }
    });
    outcomes.collect()
}

fn alter(shared: &Shared, wanted: &Wanted, validate_only: bool) -> Result<(), Refused> {
    let name = &wanted.name;
    match wanted.kind {
        TOPIC => {}
        BROKER => {
            let message = "the broker's settings are flags: change them and start it again";
            return Err(Refused(ErrorCode::InvalidRequest, message.into()));
        }
        other => return Err(unknown_kind(other)),
    }
    if validate_only {
        let topic = shared.topics.get(name).ok_or_else(|| TopicFault::Unknown(name.clone()))?;
        return apply(&mut topic.overrides().clone(), wanted);
    }
    shared.topics.configure(name, |overrides| apply(overrides, wanted)).map(drop)
}

fn apply(overrides: &mut Overrides, wanted: &Wanted) -> Result<(), Refused> {
    if wanted.is_all {
        overrides.clear();
    }
    let mut seen = HashSet::new();
    for Change { name, operation, value } in &wanted.changes {
        if !seen.insert(name) {
            return Err(twice(name));
        }
        match *operation {
            SET => {
                let value = value.as_ref().ok_or_else(|| without_value(name))?;
                overrides.extend(config::read(name, value)?);
            }
            DELETE => {
                if let Some(setting) = config::find(name)? {
                    overrides.remove(&setting);
                }
            }
            APPEND | SUBTRACT => return Err(ConfigFault::NotAList { name: name.clone() }.into()),
            other => {
                let message = format!("there is no change {other} of a setting");
                return Err(Refused(ErrorCode::InvalidRequest, message));
            }
        }
    }
    Ok(())
}

fn twice(name: &str) -> Refused {
    Refused(ErrorCode::InvalidRequest, format!("'{name}' is there more than once"))
}

fn without_value(name: &str) -> Refused {
    Refused(ErrorCode::InvalidRequest, format!("'{name}' is to be set, and has no value"))
}
