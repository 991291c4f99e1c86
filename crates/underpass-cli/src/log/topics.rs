//! `underpass log topics`.

use anyhow::ensure;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use underpass_log::client::{Client, PartitionDescription, TopicDescription, TopicSetting};
use underpass_measure::printable;

use super::broker::{BrokerArguments, or_unknown, told};
use crate::exit::print;

/// List, describe, create, delete and alter the topics of a running server.
#[derive(Debug, Args)]
pub(crate) struct TopicsArguments {
    #[command(subcommand)]
    command: TopicsCommand,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// List topics: their partitions and how many offsets they span.
    List(ListArguments),
    /// Describe topics: each partition's leader and offsets, and what is set.
    Describe(DescribeArguments),
    /// Create a topic.
    Create(CreateArguments),
    /// Delete topics and their records, for good.
    Delete(DeleteArguments),
    /// Add partitions to a topic, or change its settings.
    Alter(AlterArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    broker: BrokerArguments,

    /// Print a JSON object on a line for each topic.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DescribeArguments {
    /// The topics [default: all].
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,

    #[command(flatten)]
    broker: BrokerArguments,

    /// Print a JSON object on a line for each topic, with all its settings.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CreateArguments {
    /// What it is called: up to 249 letters, digits, '.', '_' and '-'.
    #[arg(value_name = "TOPIC")]
    topic: String,

    /// How many partitions [default: as many as the server gives].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// Set something, such as 'retention.ms=3600000'; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,

    #[command(flatten)]
    broker: BrokerArguments,
}

#[derive(Debug, Args)]
struct DeleteArguments {
    /// The topics.
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,

    #[command(flatten)]
    broker: BrokerArguments,
}

#[derive(Debug, Args)]
struct AlterArguments {
    /// The topic.
    #[arg(value_name = "TOPIC")]
    topic: String,

    /// How many partitions it is to have; there can be more, and never fewer.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// Set something, such as 'retention.ms=3600000'; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,

    /// Let something have its default again; may be repeated.
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,

    #[command(flatten)]
    broker: BrokerArguments,
}

/// Reads `NAME=VALUE`.
pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Carries out the command.
///
/// # Errors
///
/// If the server does not answer, or refuses.
pub(crate) fn run(wanted: &TopicsArguments) -> anyhow::Result<()> {
    match &wanted.command {
        TopicsCommand::List(wanted) => list(wanted),
        TopicsCommand::Describe(wanted) => describe(wanted),
        TopicsCommand::Create(wanted) => {
            let mut client = wanted.broker.connect()?;
            let created = client.create_topic(&wanted.topic, wanted.partitions, &wanted.config);
            created.map_err(told)
        }
        TopicsCommand::Delete(wanted) => {
            let mut client = wanted.broker.connect()?;
            wanted.topics.iter().try_for_each(|topic| client.delete_topic(topic).map_err(told))
        }
        TopicsCommand::Alter(wanted) => alter(wanted),
    }
}

fn list(wanted: &ListArguments) -> anyhow::Result<()> {
    let mut client = wanted.broker.connect()?;
    let mut topics = client.topics(None).map_err(told)?;
    client.add_offsets(&mut topics).map_err(told)?;
    let mut lines = String::new();
    if !wanted.json {
        lines = format!("{:<48} {:>10} {:>20}\n", "TOPIC", "PARTITIONS", "OFFSETS");
    }
    for topic in &topics {
        let (name, partitions) = (printable(&topic.name), topic.partitions.len());
        let span = topic.partitions.iter().map(span).sum::<Option<i64>>();
        lines.push_str(&if wanted.json {
            json!({"topic": topic.name, "partitions": partitions, "offsets": span}).to_string()
        } else {
            format!("{name:<48} {partitions:>10} {:>20}", or_unknown(span))
        });
        lines.push('\n');
    }
    print(lines.as_bytes())
}

/// Offsets from the first to the last.
fn span(partition: &PartitionDescription) -> Option<i64> {
    partition.offsets.map(|(start, end)| end - start)
}

fn describe(wanted: &DescribeArguments) -> anyhow::Result<()> {
    let mut client = wanted.broker.connect()?;
    let names = (!wanted.topics.is_empty()).then_some(&wanted.topics[..]);
    let mut topics = client.topics(names).map_err(told)?;
    client.add_offsets(&mut topics).map_err(told)?;
    for topic in &topics {
        let settings = client.settings(&topic.name).map_err(told)?;
        print(described(topic, &settings, wanted.json).as_bytes())?;
    }
    Ok(())
}

fn described(topic: &TopicDescription, settings: &[TopicSetting], as_json: bool) -> String {
    if as_json {
        return format!("{}\n", in_json(topic, settings));
    }
    let mut lines = format!("{}\n", printable(&topic.name));
    for setting in settings.iter().filter(|setting| setting.is_set) {
        lines.push_str(&printable(&format!("  {}={}", setting.name, setting.value)));
        lines.push('\n');
    }
    lines.push_str("  PARTITION  LEADER   EPOCH                START                  END\n");
    for PartitionDescription { index, leader, leader_epoch, offsets } in &topic.partitions {
        let leader = leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        let (start, end) = offsets.unzip();
        let (start, end) = (or_unknown(start), or_unknown(end));
        lines.push_str(&format!(
            "  {index:>9}  {leader:>6}  {leader_epoch:>6} {start:>20} {end:>20}\n"
        ));
    }
    lines
}

fn in_json(topic: &TopicDescription, settings: &[TopicSetting]) -> Value {
    let partitions = topic.partitions.iter().map(|partition| {
        json!({
            "partition": partition.index,
            "leader": partition.leader,
            "leaderEpoch": partition.leader_epoch,
            "startOffset": partition.offsets.map(|(start, _)| start),
            "endOffset": partition.offsets.map(|(_, end)| end),
        })
    });
    let config = settings.iter().map(|setting| (setting.name.clone(), json!(setting.value)));
    let set = settings.iter().filter(|setting| setting.is_set).map(|setting| &setting.name);
    json!({
        "topic": topic.name,
        "partitions": partitions.collect::<Vec<_>>(),
        "config": config.collect::<serde_json::Map<_, _>>(),
        "set": set.collect::<Vec<_>>(),
    })
}

fn alter(wanted: &AlterArguments) -> anyhow::Result<()> {
    let is_changed = !wanted.config.is_empty() || !wanted.unset.is_empty();
    ensure!(
        is_changed || wanted.partitions.is_some(),
        "nothing to change; give --partitions, --config or --unset"
    );
    let mut client: Client = wanted.broker.connect()?;
    if is_changed {
        client.configure(&wanted.topic, &wanted.config, &wanted.unset).map_err(told)?;
    }
    if let Some(count) = wanted.partitions {
        client.add_partitions(&wanted.topic, count).map_err(told)?;
    }
    Ok(())
}
