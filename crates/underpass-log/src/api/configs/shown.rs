//! Settings as they are shown: what they are, and whence.

use crate::server::Shared;
use crate::topics::config::{FIXED, Overrides, TopicConfig};
use crate::topics::setting::{Kind, Setting};
use crate::wire::create_topics::CreatableTopicConfigs;
use crate::wire::describe_configs::{DescribeConfigsResourceResult, DescribeConfigsSynonym};

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// It was set for this topic.
    Topic = 1,
    /// A flag of this server.
    Flag = 4,
    /// It is what it is unless something is set.
    Default = 5,
}

/// A setting and its value.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) name: &'static str,
    value: String,
    source: Source,
    is_fixed: bool,
    kind: Kind,
    documentation: &'static str,
    /// The names and values that it comes from, the one that counts first.
    synonyms: Vec<(&'static str, String, Source)>,
}

impl Shown {
    pub(super) fn described(
        self,
        with_synonyms: bool,
        with_documentation: bool,
    ) -> DescribeConfigsResourceResult {
        let synonyms = if with_synonyms { self.synonyms } else { Vec::new() };
        let synonyms = synonyms.into_iter().map(|(name, value, source)| DescribeConfigsSynonym {
            name: name.into(),
            value: Some(value),
            source: source as i8,
        });
        DescribeConfigsResourceResult {
            name: self.name.into(),
            value: Some(self.value),
            read_only: self.is_fixed,
            config_source: self.source as i8,
            is_sensitive: false,
            synonyms: synonyms.collect(),
            config_type: self.kind as i8,
            documentation: with_documentation.then(|| self.documentation.into()),
        }
    }
}

/// Those of a topic, by their names.
pub(super) fn of_topic(defaults: &TopicConfig, overrides: &Overrides) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Setting::ALL
        .into_iter()
        .map(|setting| of_setting(defaults, overrides, setting))
        .chain(FIXED.iter().map(|fixed| Shown {
            name: fixed.name,
            value: fixed.value.into(),
            source: Source::Default,
            is_fixed: true,
            kind: fixed.kind,
            documentation: fixed.why,
            synonyms: vec![(fixed.name, fixed.value.into(), Source::Default)],
        }))
        .collect();
    shown.sort_by_key(|shown| shown.name);
    shown
}

fn of_setting(defaults: &TopicConfig, overrides: &Overrides, setting: Setting) -> Shown {
    let (of_broker, built_in) = (setting.get(defaults), setting.get(&TopicConfig::default()));
    let mut synonyms = Vec::new();
    if let Some(value) = overrides.get(&setting) {
        synonyms.push((setting.name(), value.trim().to_owned(), Source::Topic));
    }
    if of_broker != built_in {
        synonyms.push((setting.broker_name(), of_broker, Source::Flag));
    }
    synonyms.push((setting.broker_name(), built_in, Source::Default));
    let (_, value, source) = synonyms[0].clone();
    Shown {
        name: setting.name(),
        value,
        source,
        is_fixed: false,
        kind: setting.kind(),
        documentation: setting.documentation(),
        synonyms,
    }
}

/// Those of a topic that was just made, for the answer to its creation.
pub(in crate::api) fn of_new_topic(
    defaults: &TopicConfig,
    overrides: &Overrides,
) -> Vec<CreatableTopicConfigs> {
    let created = of_topic(defaults, overrides).into_iter().map(|shown| CreatableTopicConfigs {
        name: shown.name.into(),
        value: Some(shown.value),
        read_only: shown.is_fixed,
        config_source: shown.source as i8,
        is_sensitive: false,
    });
    created.collect()
}

/// Those of the broker, which are flags: tools look for some of them.
pub(super) fn of_broker(shared: &Shared) -> Vec<Shown> {
    let defaults = shared.topics.defaults();
    let own = [
        ("auto.create.topics.enable", shared.auto_create.to_string(), "true", Kind::Boolean),
        ("broker.id", shared.node_id.to_string(), "1", Kind::Int),
        ("default.replication.factor", "1".into(), "1", Kind::Int),
        ("log.cleanup.policy", "delete".into(), "delete", Kind::List),
        ("log.dirs", shared.topics.path().display().to_string(), "", Kind::Text),
        ("num.partitions", shared.partitions.to_string(), "1", Kind::Int),
    ];
    let mut shown: Vec<Shown> = own
        .into_iter()
        .map(|(name, value, built_in, kind)| of_flag(name, value, built_in, kind, ""))
        .chain(Setting::ALL.into_iter().map(|setting| {
            let built_in = setting.get(&TopicConfig::default());
            let (name, value) = (setting.broker_name(), setting.get(defaults));
            of_flag(name, value, &built_in, setting.kind(), setting.documentation())
        }))
        .collect();
    shown.sort_by_key(|shown| shown.name);
    shown
}

fn of_flag(
    name: &'static str,
    value: String,
    built_in: &str,
    kind: Kind,
    documentation: &'static str,
) -> Shown {
    let source = if value == built_in { Source::Default } else { Source::Flag };
    let synonyms = vec![(name, value.clone(), source)];
    Shown { name, value, source, is_fixed: true, kind, documentation, synonyms }
}
