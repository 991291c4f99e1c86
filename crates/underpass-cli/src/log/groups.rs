//! `underpass log groups`.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use underpass_log::client::{Client, CommittedOffset, GroupDescription, Place};
use underpass_measure::printable;

use super::broker::{BrokerArguments, or_unknown, told};
use crate::exit::print;

/// List, describe, move and delete the consumer groups of a running server.
#[derive(Debug, Args)]
pub(crate) struct GroupsArguments {
    #[command(subcommand)]
    command: GroupsCommand,
}

#[derive(Debug, Subcommand)]
enum GroupsCommand {
    /// List groups, and what they are doing.
    List(ListArguments),
    /// Describe groups: how far each partition is read, how far behind that is, and by whom.
    Describe(DescribeArguments),
    /// Have a group that has no members continue from elsewhere.
    Reset(ResetArguments),
    /// Delete groups that have no members, with their offsets.
    Delete(DeleteArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    broker: BrokerArguments,

    /// Print a JSON object on a line for each group.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DescribeArguments {
    /// The groups [default: all].
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,

    #[command(flatten)]
    broker: BrokerArguments,

    /// Print a JSON object on a line for each group.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ResetArguments {
    /// The group.
    #[arg(value_name = "GROUP")]
    group: String,

    /// The topic, or a partition of it, as in 'TOPIC:3'; may be repeated.
    #[arg(long = "topic", value_name = "TOPIC[:PARTITION]", required = true)]
    topics: Vec<String>,

    /// Where to: 'start', 'end', an offset, or a time such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "PLACE", value_parser = destination)]
    to: Destination,

    /// Only print what would be done.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    broker: BrokerArguments,
}

#[derive(Debug, Args)]
struct DeleteArguments {
    /// The groups.
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<String>,

    #[command(flatten)]
    broker: BrokerArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    Place(Place),
    Offset(i64),
}

/// Reads a place in partitions.
fn destination(text: &str) -> Result<Destination, String> {
    match text {
        "start" => return Ok(Destination::Place(Place::Start)),
        "end" => return Ok(Destination::Place(Place::End)),
        _ => {}
    }
    if let Ok(offset) = text.parse() {
        return if offset < 0 {
            Err("no offset is negative".into())
        } else {
            Ok(Destination::Offset(offset))
        };
    }
    let time = humantime::parse_rfc3339_weak(text);
    let time: SystemTime = time.map_err(|_| {
        "give 'start', 'end', an offset, or a time such as 2026-01-31T12:00:00Z".to_owned()
    })?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Ok(Destination::Place(Place::Time(millis)))
}

/// Carries out the command.
///
/// # Errors
///
/// If the server does not answer, or refuses.
pub(crate) fn run(wanted: &GroupsArguments) -> anyhow::Result<()> {
    match &wanted.command {
        GroupsCommand::List(wanted) => list(wanted),
        GroupsCommand::Describe(wanted) => describe(wanted),
        GroupsCommand::Reset(wanted) => reset(wanted),
        GroupsCommand::Delete(wanted) => {
            let mut client = wanted.broker.connect()?;
            wanted.groups.iter().try_for_each(|group| {
                require_no_members(&mut client, group)?;
                client.delete_group(group).map_err(told)
            })
        }
    }
}

/// The server refuses too, and has fewer words for it.
fn require_no_members(client: &mut Client, group: &str) -> anyhow::Result<()> {
    let described = client.group(group).map_err(told)?;
    let members = described.map_or(0, |group| group.members.len());
    ensure!(members == 0, "{} has members ({members}): stop them first", printable(group));
    Ok(())
}

fn list(wanted: &ListArguments) -> anyhow::Result<()> {
    let groups = wanted.broker.connect()?.groups().map_err(told)?;
    let mut lines = String::new();
    if !wanted.json {
        lines = format!("{:<48} {:<20} {}\n", "GROUP", "STATE", "TYPE");
    }
    for group in &groups {
        lines.push_str(&if wanted.json {
            let (state, kind) = (&group.state, &group.protocol_type);
            json!({"group": group.name, "state": state, "type": kind}).to_string()
        } else {
            let kind = printable(&group.protocol_type);
            let line = format!("{:<48} {:<20} {kind}", printable(&group.name), group.state);
            line.trim_end().to_owned()
        });
        lines.push('\n');
    }
    print(lines.as_bytes())
}

/// How far a partition is read, and by whom.
struct Progress<'g> {
    committed: &'g CommittedOffset,
    end: Option<i64>,
    reader: Option<&'g str>,
}

impl Progress<'_> {
    fn lag(&self) -> Option<i64> {
        self.end.map(|end| (end - self.committed.offset).max(0))
    }
}

fn describe(wanted: &DescribeArguments) -> anyhow::Result<()> {
    let mut client = wanted.broker.connect()?;
    let mut names = wanted.groups.clone();
    if names.is_empty() {
        names.extend(client.groups().map_err(told)?.into_iter().map(|group| group.name));
    }
    for name in &names {
        let group = client.group(name).map_err(told)?;
        let Some(group) = group else { bail!("there is no group {}", printable(name)) };
        let committed = client.committed(name).map_err(told)?;
        let ends = ends(&mut client, &committed)?;
        let readers = readers(&group);
        let progress = committed.iter().map(|committed| {
            let key = (committed.topic.clone(), committed.partition);
            let reader = readers.get(&key).copied();
            Progress { committed, end: ends.get(&key).copied().flatten(), reader }
        });
        let progress: Vec<_> = progress.collect();
        let text =
            if wanted.json { in_json(&group, &progress) } else { in_text(&group, &progress) };
        print(text.as_bytes())?;
    }
    Ok(())
}

/// The ends of the partitions that a group has read.
fn ends(
    client: &mut Client,
    committed: &[CommittedOffset],
) -> anyhow::Result<BTreeMap<(String, i32), Option<i64>>> {
    let read = committed.iter().map(|committed| (committed.topic.clone(), committed.partition));
    client.offsets_of(&read.collect::<Vec<_>>(), Place::End).map_err(told)
}

/// The member that reads each partition.
fn readers(group: &GroupDescription) -> BTreeMap<(String, i32), &str> {
    let read = group.members.iter().flat_map(|member| {
        let partitions = member.partitions.iter().flatten();
        partitions.map(|partition| (partition.clone(), &*member.member_id))
    });
    read.collect()
}

fn in_text(group: &GroupDescription, progress: &[Progress<'_>]) -> String {
    let members = group.members.len();
    let members = if members == 1 { "1 member".to_owned() } else { format!("{members} members") };
    let mut text = format!("{}: {}, {members}\n", printable(&group.name), group.state);
    for member in &group.members {
        let (id, host) = (printable(&member.member_id), printable(&member.client_host));
        text.push_str(&format!("  member {id} at {host}\n"));
    }
    text.push_str(&format!(
        "  {:<36} {:>12} {:>12} {:>12}\n",
        "TOPIC-PARTITION", "OFFSET", "END", "LAG"
    ));
    for one in progress {
        let CommittedOffset { topic, partition, offset, .. } = one.committed;
        let (end, lag) = (or_unknown(one.end), or_unknown(one.lag()));
        let place = printable(&format!("{topic}-{partition}"));
        text.push_str(&format!("  {place:<36} {offset:>12} {end:>12} {lag:>12}\n"));
    }
    text
}

fn in_json(group: &GroupDescription, progress: &[Progress<'_>]) -> String {
    let members = group.members.iter().map(|member| {
        json!({
            "memberId": member.member_id,
            "instanceId": member.instance,
            "clientId": member.client_id,
            "clientHost": member.client_host,
        })
    });
    let partitions = progress.iter().map(|one| {
        json!({
            "topic": one.committed.topic,
            "partition": one.committed.partition,
            "offset": one.committed.offset,
            "metadata": one.committed.metadata,
            "endOffset": one.end,
            "lag": one.lag(),
            "memberId": one.reader,
        })
    });
    let group = json!({
        "group": group.name,
        "state": group.state,
        "protocol": group.protocol,
        "members": members.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
    });
    format!("{group}\n")
}

fn reset(wanted: &ResetArguments) -> anyhow::Result<()> {
    let mut client = wanted.broker.connect()?;
    let mut partitions = Vec::new();
    for topic in &wanted.topics {
        partitions.extend(partitions_of(&mut client, topic)?);
    }
    partitions.sort_unstable();
    partitions.dedup();
    let moved = destinations(&mut client, &partitions, wanted.to)?;
    if !wanted.dry_run {
        require_no_members(&mut client, &wanted.group)?;
        client.set_offsets(&wanted.group, &moved).map_err(told)?;
    }
    let mut lines = format!("{:<48} {:>20}\n", "TOPIC-PARTITION", "OFFSET");
    for (topic, partition, offset) in &moved {
        let place = printable(&format!("{topic}-{partition}"));
        lines.push_str(&format!("{place:<48} {offset:>20}\n"));
    }
    print(lines.as_bytes())
}

/// The partitions that `TOPIC` or `TOPIC:PARTITION` means.
fn partitions_of(client: &mut Client, text: &str) -> anyhow::Result<Vec<(String, i32)>> {
    if let Some((topic, partition)) = text.rsplit_once(':') {
        let Ok(partition) = partition.parse() else {
            bail!("--topic {}: it is not TOPIC or TOPIC:PARTITION", printable(text));
        };
        return Ok(vec![(topic.to_owned(), partition)]);
    }
    let topics = client.topics(Some(&[text.to_owned()])).map_err(told)?;
    let partitions = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.clone(), partition.index))
    });
    Ok(partitions.collect())
}

/// Where each partition is to be read from: within what is there.
fn destinations(
    client: &mut Client,
    partitions: &[(String, i32)],
    to: Destination,
) -> anyhow::Result<Vec<(String, i32, i64)>> {
    let starts = client.offsets_of(partitions, Place::Start).map_err(told)?;
    let ends = client.offsets_of(partitions, Place::End).map_err(told)?;
    let places = match to {
        Destination::Place(place) => client.offsets_of(partitions, place).map_err(told)?,
        Destination::Offset(_) => BTreeMap::new(),
    };
    let mut moved = Vec::new();
    for key in partitions {
        let known = |offsets: &BTreeMap<_, Option<i64>>| offsets.get(key).copied().flatten();
        let (Some(start), Some(end)) = (known(&starts), known(&ends)) else {
            bail!("{}-{} has no offsets", printable(&key.0), key.1);
        };
        let offset = match to {
            Destination::Offset(offset) => offset,
            // No record is of that time or later.
            Destination::Place(_) => known(&places).unwrap_or(end),
        };
        ensure!(
            (start..=end).contains(&offset),
            "{}-{} has offsets {start} to {end}, and {offset} is not among them",
            printable(&key.0),
            key.1
        );
        moved.push((key.0.clone(), key.1, offset));
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        assert_eq!(destination("start"), Ok(Destination::Place(Place::Start)));
        assert_eq!(destination("end"), Ok(Destination::Place(Place::End)));
        assert_eq!(destination("42"), Ok(Destination::Offset(42)));
        let time = Destination::Place(Place::Time(1_769_860_800_000));
        assert_eq!(destination("2026-01-31T12:00:00Z"), Ok(time));
        destination("-1").unwrap_err();
        destination("yesterday").unwrap_err();
    }
}
