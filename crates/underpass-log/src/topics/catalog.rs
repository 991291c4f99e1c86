//! `topics.json`: which topics there are, and which are being deleted.
//!
//! The file is replaced whole, so it is the one place that decides: directories that it does not
//! name are what a crash left of a creation, and those of a topic that is being deleted go.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::{self, Overrides};
use super::directory::{DirectoryError, damaged, io_error, read_bounded};
use super::name;
use crate::uuid::Uuid;
use crate::whole_file;

/// The most partitions of a topic, as Kafka has it for one request.
pub(crate) const PARTITIONS_MAX: u32 = 10_000;

/// The most partitions of all topics together: each costs some KiB of memory, and its topic some
/// bytes of a file that is written whole.
pub(crate) const ALL_PARTITIONS_MAX: u32 = 20_000;

/// Topics of the longest names, with every setting, and as many that are being deleted.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The version of the file.
const FORMAT: u32 = 1;

const FILE: &str = "topics.json";

/// A topic as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    pub(crate) partitions: u32,
    pub(crate) overrides: Overrides,
}

/// All that is written down of topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    pub(crate) topics: BTreeMap<String, Entry>,
    /// Topics that are gone for clients, whose files may still be there.
    pub(crate) deleting: BTreeMap<Uuid, Remains>,
}

/// What is left of a topic that is being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) name: String,
    pub(crate) partitions: u32,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    topics: Vec<WrittenTopic>,
    #[serde(default)]
    deleting: Vec<WrittenRemains>,
}

#[derive(Serialize, Deserialize)]
struct WrittenTopic {
    name: String,
    id: String,
    partitions: u32,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct WrittenRemains {
    name: String,
    id: String,
    partitions: u32,
}

impl Catalog {
    /// Reads it; there is nothing in it if there is no file.
    pub(crate) fn load(directory: &Path) -> Result<Self, DirectoryError> {
        let path = path(directory);
        let Some(text) = read_bounded(&path, FILE_BYTES_MAX)? else { return Ok(Self::default()) };
        let written: Written =
            serde_json::from_str(&text).map_err(|error| damaged(&path, error))?;
        if written.format != FORMAT {
            return Err(DirectoryError::Format { path, found: written.format });
        }
        Self::read(written).map_err(|fault| damaged(&path, fault))
    }

    fn read(written: Written) -> Result<Self, String> {
        let mut catalog = Self::default();
        for topic in written.topics {
            let fault =
                |fault: &dyn ToString| format!("topic '{}': {}", topic.name, fault.to_string());
            name::check(&topic.name).map_err(|error| fault(&error))?;
            check_partitions(topic.partitions).map_err(|error| fault(&error))?;
            let id = topic.id.parse().map_err(|error| fault(&error))?;
            let overrides = overrides(&topic.config).map_err(|error| fault(&error))?;
            let entry = Entry { id, partitions: topic.partitions, overrides };
            if catalog.topics.insert(topic.name.clone(), entry).is_some() {
                return Err(fault(&"it is there twice"));
            }
        }
        for WrittenRemains { name, id, partitions } in written.deleting {
            let fault =
                |fault: &dyn ToString| format!("deleted topic '{name}': {}", fault.to_string());
            name::check(&name).map_err(|error| fault(&error))?;
            check_partitions(partitions).map_err(|error| fault(&error))?;
            let id = id.parse().map_err(|error| fault(&error))?;
            catalog.deleting.insert(id, Remains { name, partitions });
        }
        let ids: HashSet<Uuid> = catalog.topics.values().map(|entry| entry.id).collect();
        if ids.len() < catalog.topics.len() || catalog.deleting.keys().any(|id| ids.contains(id)) {
            return Err("two topics have the same id".into());
        }
        Ok(catalog)
    }

    /// Replaces the file. When this returns, it is on the disk.
    pub(crate) fn store(&self, directory: &Path) -> Result<(), DirectoryError> {
        let path = path(directory);
        let mut text =
            serde_json::to_vec_pretty(&self.written()).map_err(|error| damaged(&path, error))?;
        text.push(b'\n');
        whole_file::replace(&path, &text).map_err(io_error("write", &path))
    }

    fn written(&self) -> Written {
        let config = |overrides: &Overrides| {
            overrides
                .iter()
                .map(|(setting, value)| (setting.name().into(), value.clone()))
                .collect()
        };
        let topics = self.topics.iter().map(|(name, entry)| WrittenTopic {
            name: name.clone(),
            id: entry.id.to_string(),
            partitions: entry.partitions,
            config: config(&entry.overrides),
        });
        let deleting = self.deleting.iter().map(|(id, remains)| WrittenRemains {
            name: remains.name.clone(),
            id: id.to_string(),
            partitions: remains.partitions,
        });
        Written { format: FORMAT, topics: topics.collect(), deleting: deleting.collect() }
    }

    /// Partitions of all topics together.
    pub(crate) fn partitions(&self) -> u32 {
        self.topics.values().map(|entry| entry.partitions).fold(0, u32::saturating_add)
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

fn check_partitions(count: u32) -> Result<(), String> {
    if (1..=PARTITIONS_MAX).contains(&count) {
        return Ok(());
    }
    Err(format!("{count} partitions, and there are 1 to {PARTITIONS_MAX}"))
}

fn overrides(config: &BTreeMap<String, String>) -> Result<Overrides, config::ConfigFault> {
    let mut overrides = Overrides::new();
    for (name, value) in config {
        overrides.extend(config::read(name, value)?);
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::topics::setting::Setting;

    const TEXT: &str = r#"{
  "format": 1,
  "topics": [
    {
      "name": "logs",
      "id": "MkU3OEVBNTcwNTJENDM2Qg",
      "partitions": 3,
      "config": {
        "retention.ms": "1000"
      }
    }
  ],
  "deleting": [
    {
      "name": "logs",
      "id": "MkU3OEVBNTcwNTJENDM2Qw",
      "partitions": 1
    }
  ]
}
"#;

    fn catalog() -> Catalog {
        let overrides = Overrides::from([(Setting::RetentionMs, "1000".into())]);
        let entry = Entry { id: Uuid(*b"2E78EA57052D436B"), partitions: 3, overrides };
        let remains = Remains { name: "logs".into(), partitions: 1 };
        Catalog {
            topics: BTreeMap::from([("logs".into(), entry)]),
            deleting: BTreeMap::from([(Uuid(*b"2E78EA57052D436C"), remains)]),
        }
    }

    #[test]
    fn the_file_is_as_it_is_documented() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Catalog::load(dir.path()).unwrap(), Catalog::default());
        catalog().store(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(path(dir.path())).unwrap(), TEXT);
        assert_eq!(Catalog::load(dir.path()).unwrap(), catalog());
    }

    #[test]
    fn a_damaged_file_is_named_with_the_topic_that_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let twice = TEXT.replacen(
            "],",
            ",{\"name\":\"logs\",\"id\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"partitions\":1}],",
            1,
        );
        let cases = [
            (
                TEXT.replacen("\"logs\"", "\"../logs\"", 1),
                "damaged: topic '../logs': a topic's name consists",
            ),
            (TEXT.replace("\"partitions\": 3", "\"partitions\": 0"), "topic 'logs': 0 partitions"),
            (
                TEXT.replace("\"1000\"", "\"-7\""),
                "topic 'logs': '-7' is not a value of retention.ms",
            ),
            (TEXT.replace("MkU3OEVBNTcwNTJENDM2Qw", "MkU3OEVBNTcwNTJENDM2Qg"), "the same id"),
            (TEXT.replace("MkU3OEVBNTcwNTJENDM2Qg", "short"), "an identifier is 22"),
            (twice, "topic 'logs': it is there twice"),
            (TEXT.replace("\"format\": 1", "\"format\": 9"), "has format 9"),
            (TEXT[..40].into(), "EOF while parsing"),
        ];
        for (text, part) in cases {
            fs::write(path(dir.path()), &text).unwrap();
            let said = Catalog::load(dir.path()).unwrap_err().to_string();
            assert!(said.contains(part) && said.contains("topics.json"), "{said}");
        }
    }
}
