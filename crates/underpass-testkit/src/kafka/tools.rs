//! Kafka's command-line tools, each asked for something that its output shows.
//!
//! They build on each other and are run in this order, on one topic.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use super::apache::{Apache, failed};
use super::feature::Answer;

/// How many records the console producer writes.
const RECORDS: usize = 40;

/// A tool with what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its name and the main option, as the page has it.
    pub title: &'static str,
    class: &'static str,
    /// In these `TOPIC`, `SERVER`, `JSON` and `PARTITION` are replaced.
    arguments: &'static str,
    /// What its output must have.
    shows: &'static str,
}

const fn tool(
    title: &'static str,
    class: &'static str,
    arguments: &'static str,
    shows: &'static str,
) -> Tool {
    Tool { title, class, arguments, shows }
}

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";

impl Tool {
    /// Every one, in the order in which they are run.
    pub const ALL: [Self; 20] = [
        tool(
            "kafka-topics --create",
            TOPICS,
            "--bootstrap-server SERVER --create --topic TOPIC --partitions 1",
            "Created topic TOPIC.",
        ),
        tool(
            "kafka-topics --describe",
            TOPICS,
            "--bootstrap-server SERVER --describe --topic TOPIC",
            "PartitionCount: 1",
        ),
        tool("kafka-topics --list", TOPICS, "--bootstrap-server SERVER --list", "TOPIC"),
        tool(
            "kafka-console-producer",
            "org.apache.kafka.tools.ConsoleProducer",
            "--bootstrap-server SERVER --topic TOPIC --compression-codec zstd",
            "",
        ),
        tool(
            "kafka-console-consumer",
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            "--bootstrap-server SERVER --topic TOPIC --group TOPIC --from-beginning \
             --max-messages 40 --timeout-ms 60000",
            "line 39",
        ),
        tool("kafka-consumer-groups --list", GROUPS, "--bootstrap-server SERVER --list", "TOPIC"),
        tool(
            "kafka-consumer-groups --describe",
            GROUPS,
            "--bootstrap-server SERVER --describe --group TOPIC",
            "40              40              0",
        ),
        tool(
            "kafka-consumer-groups --reset-offsets",
            GROUPS,
            "--bootstrap-server SERVER --reset-offsets --to-offset 7 --execute --group TOPIC \
             --topic TOPIC",
            " 7 ",
        ),
        tool(
            "kafka-consumer-groups --delete",
            GROUPS,
            "--bootstrap-server SERVER --delete --group TOPIC",
            "successful",
        ),
        tool(
            "kafka-configs --alter",
            CONFIGS,
            "--bootstrap-server SERVER --alter --topic TOPIC --add-config retention.ms=700000",
            "Completed updating config for topic TOPIC.",
        ),
        tool(
            "kafka-configs --describe",
            CONFIGS,
            "--bootstrap-server SERVER --describe --topic TOPIC",
            "retention.ms=700000",
        ),
        tool(
            "kafka-get-offsets",
            "org.apache.kafka.tools.GetOffsetShell",
            "--bootstrap-server SERVER --topic TOPIC",
            "TOPIC:0:40",
        ),
        tool(
            "kafka-delete-records",
            "org.apache.kafka.tools.DeleteRecordsCommand",
            "--bootstrap-server SERVER --offset-json-file JSON",
            "low_watermark: 3",
        ),
        tool(
            "kafka-producer-perf-test",
            "org.apache.kafka.tools.ProducerPerformance",
            "--topic TOPIC --num-records 5000 --record-size 100 --throughput -1 \
             --producer-props bootstrap.servers=SERVER",
            "5000 records sent",
        ),
        tool(
            "kafka-consumer-perf-test",
            "org.apache.kafka.tools.ConsumerPerformance",
            "--bootstrap-server SERVER --topic TOPIC --messages 5000 --timeout 60000",
            "fetch.MB.sec",
        ),
        tool(
            "kafka-log-dirs --describe",
            "org.apache.kafka.tools.LogDirsCommand",
            "--bootstrap-server SERVER --describe --topic-list TOPIC",
            "\"partition\":\"TOPIC-0\"",
        ),
        tool(
            "kafka-reassign-partitions --list",
            "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
            "--bootstrap-server SERVER --list",
            "No partition reassignments found.",
        ),
        tool(
            "kafka-broker-api-versions",
            "org.apache.kafka.tools.BrokerApiVersionsCommand",
            "--bootstrap-server SERVER",
            "Produce(0): 0 to ",
        ),
        tool(
            "kafka-dump-log --deep-iteration",
            "kafka.tools.DumpLogSegments",
            "--deep-iteration --files \
             PARTITION.log,PARTITION.index,PARTITION.timeindex",
            "| offset: 5039 ",
        ),
        tool(
            "kafka-topics --delete",
            TOPICS,
            "--bootstrap-server SERVER --delete --topic TOPIC",
            "",
        ),
    ];

    /// Runs every one on a server that keeps its partitions in `data`.
    ///
    /// # Errors
    ///
    /// Those of starting them; that one does not do what it should is its answer.
    pub fn run_all(
        apache: &Apache,
        server: SocketAddr,
        data: &Path,
    ) -> io::Result<Vec<(Self, Answer)>> {
        let scratch = tempfile::tempdir()?;
        let json = scratch.path().join("records.json");
        let partition = r#"{"topic": "tools", "partition": 0, "offset": 3}"#;
        std::fs::write(&json, format!(r#"{{"partitions": [{partition}], "version": 1}}"#))?;
        let words = [
            ("TOPIC", "tools".to_owned()),
            ("SERVER", server.to_string()),
            ("JSON", json.display().to_string()),
            ("PARTITION", data.join("tools-0/00000000000000000000").display().to_string()),
        ];
        let fill = |text: &str| {
            words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
        };
        Self::ALL.iter().map(|tool| Ok((*tool, tool.run(apache, &fill)?))).collect()
    }

    fn run(self, apache: &Apache, fill: &impl Fn(&str) -> String) -> io::Result<Answer> {
        let mut java = apache.java();
        let arguments = self.arguments.split_whitespace().map(fill);
        java.arg(self.class).args(arguments).stdin(Stdio::piped());
        let mut child = java.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let lines: String = (0..RECORDS).map(|i| format!("line {i}\n")).collect();
        // One that reads nothing may have ended.
        drop(child.stdin.take().map(|mut stdin| stdin.write_all(lines.as_bytes())));
        let output = child.wait_with_output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Ok(Answer::No(failed("java", &output).to_string()));
        }
        Ok(match self.fault(&printed, &fill(self.shows)) {
            Some(fault) => Answer::No(fault),
            None => Answer::Yes,
        })
    }

    /// What is wrong with what it printed. `DumpLogSegments` ends well whatever it finds.
    fn fault(self, printed: &str, shows: &str) -> Option<String> {
        let is_bad = |line: &&str| {
            ["isvalid: false", "Mismatches in", "Found ", "Non-consecutive", "Error:"]
                .iter()
                .any(|word| line.contains(word))
        };
        if let Some(line) = printed.lines().find(is_bad) {
            return Some(line.to_owned());
        }
        let is_shown = printed.contains(shows);
        (!is_shown).then(|| format!("{shows:?} is not in {printed:.500?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_that_tells_of_a_fault_is_not_taken_for_a_good_one() {
        let dump = Tool::ALL[18];
        let good = "| offset: 5039 isvalid: true\n";
        assert_eq!(dump.fault(good, dump.shows), None);
        for bad in ["baseOffset: 0 isvalid: false", "Mismatches in :/x.index"] {
            assert_eq!(dump.fault(&format!("{good}{bad}\n"), dump.shows), Some(bad.to_owned()));
        }
        assert!(dump.fault("", dump.shows).is_some());
    }
}
