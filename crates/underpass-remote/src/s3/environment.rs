//! The environment's variables that say where a bucket is and as whom it is asked, with those of
//! AWS' tools.

use std::path::{Path, PathBuf};

/// Variables of a process, and no other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: Vec<(String, String)>,
}

/// Files that are read again whenever credentials have expired.
const TOKEN_FILES: [&str; 2] =
    ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];

impl Environment {
    /// Of this process.
    pub(crate) fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        let all = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        let is_ours = |name: &str| name.starts_with("AWS_") || name == "HOME";
        Self { variables: all.filter(|(name, _)| is_ours(name)).collect() }
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { variables: variables.iter().map(owned).collect() }
    }

    /// A variable's value, if it has one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Those that have a value.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(_, value)| !value.is_empty())
    }

    /// The file that a variable names, or the one of `~/.aws`.
    fn file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        let usual = || Some(Path::new(self.get("HOME")?).join(".aws").join(name));
        self.get(variable).map(PathBuf::from).or_else(usual)
    }

    /// The two files of AWS' tools that profiles are in.
    pub(crate) fn profile_files(&self) -> [Option<PathBuf>; 2] {
        [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")]
            .map(|(variable, name)| self.file(variable, name))
    }

    /// Files that are read while requests are made.
    pub(crate) fn token_files(&self) -> Vec<PathBuf> {
        TOKEN_FILES.iter().filter_map(|name| self.get(name)).map(PathBuf::from).collect()
    }
}
