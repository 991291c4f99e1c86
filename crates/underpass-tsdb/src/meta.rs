//! `meta.json`: what a block says of itself.
//!
//! Source: Prometheus, tsdb/block.go, `BlockMeta`; Thanos, pkg/block/metadata.

use serde::Deserialize;
use serde_json::Value;

/// What a block says of itself. Its times must be there; what else it lacks is zero or empty, and
/// what is unknown is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The block's name.
    #[serde(default)]
    pub ulid: String,
    /// The time of its first sample at the earliest, in milliseconds since 1970.
    pub min_time: i64,
    /// All its samples are before this time.
    pub max_time: i64,
    /// How much it holds.
    #[serde(default)]
    pub stats: Stats,
    /// What it was made of.
    #[serde(default)]
    pub compaction: Compaction,
    /// The version of the block's layout: 1.
    #[serde(default)]
    pub version: u64,
    /// What Thanos or Mimir add.
    #[serde(default)]
    pub thanos: Option<Value>,
}

/// How much a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// Samples.
    pub num_samples: u64,
    /// Samples that are floats, where the writer told.
    pub num_float_samples: u64,
    /// Samples that are histograms, where the writer told.
    pub num_histogram_samples: u64,
    /// Series.
    pub num_series: u64,
    /// Chunks.
    pub num_chunks: u64,
    /// Tombstones.
    pub num_tombstones: u64,
}

/// What a block was made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Compaction {
    /// How often its samples were compacted, once being the head's own.
    pub level: u64,
    /// The first blocks of its samples.
    pub sources: Vec<String>,
    /// Hints such as `from-out-of-order`.
    pub hints: Vec<String>,
}

impl Meta {
    /// Reads the file's content.
    ///
    /// # Errors
    ///
    /// If it is not JSON, a value is not of its type, or a time is missing: then no
    /// query can tell that the block has nothing for it.
    pub fn decode(bytes: &[u8]) -> serde_json::Result<Self> {
        let meta: Self = serde_json::from_slice(bytes)?;
        if meta.max_time < meta.min_time {
            return Err(serde::de::Error::custom("maxTime is before minTime"));
        }
        Ok(meta)
    }

    /// The resolution in milliseconds to which Thanos has reduced the block; 0: not at all.
    #[must_use]
    pub fn resolution(&self) -> u64 {
        let thanos = self.thanos.as_ref();
        let found = thanos.and_then(|thanos| thanos.pointer("/downsample/resolution"));
        found.and_then(Value::as_u64).unwrap_or(0)
    }

    /// The labels that Thanos keeps apart from the series' own, by name.
    #[must_use]
    pub fn external_labels(&self) -> Vec<(String, String)> {
        let labels = self.thanos.as_ref().and_then(|thanos| thanos.get("labels"));
        let text =
            |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let pairs = labels.and_then(Value::as_object);
        pairs.map(|pairs| pairs.iter().filter_map(text).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_and_thanos_write_is_read() {
        let json = br#"{"ulid":"01HX","minTime":-5,"maxTime":7,
            "stats":{"numSamples":3,"numSeries":2,"numChunks":2},
            "compaction":{"level":1,"sources":["01HX"]},"version":1,"newer":{"key":[]},
            "thanos":{"labels":{"cluster":"a"},"downsample":{"resolution":300000}}}"#;
        let meta = Meta::decode(json).unwrap();
        assert_eq!((meta.min_time, meta.max_time, meta.stats.num_series), (-5, 7, 2));
        assert_eq!(meta.resolution(), 300_000);
        assert_eq!(meta.external_labels(), [("cluster".to_owned(), "a".to_owned())]);
        assert!(Meta::decode(&json[..40]).is_err());
        for wrong in [r#"{"minTime":1,"maxTimf":7}"#, r#"{"minTime":9,"maxTime":7}"#] {
            assert!(Meta::decode(wrong.as_bytes()).is_err(), "it would hide all samples");
        }
    }
}
