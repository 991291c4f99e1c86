//! Keys and settings that are in the files of AWS' tools: `~/.aws/credentials` and `~/.aws/config`.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files".

use std::path::PathBuf;
use std::{fs, io};

use super::environment::Environment;

/// What the files say under one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Profile {
    pub(crate) key_id: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    /// How else than by keys in the file it gets them.
    by: Option<String>,
}

/// What a profile may have instead of keys; AWS' own tools turn them into keys.
const OTHERS: [&str; 4] = ["credential_process", "role_arn", "sso_session", "sso_start_url"];

impl Profile {
    /// Reads that of the name, or of `AWS_PROFILE`, or `default`, which need not be there.
    ///
    /// # Errors
    ///
    /// What is wrong, with the files' names.
    pub(crate) fn read(
        name: Option<&str>,
        needs_keys: bool,
        environment: &Environment,
    ) -> Result<Self, String> {
        let named = name.or_else(|| environment.get("AWS_PROFILE"));
        let name = named.unwrap_or("default");
        let [credentials, config] = environment.profile_files();
        let sections = [(&credentials, name.to_owned()), (&config, config_section(name))];
        let (mut profile, mut is_there) = (Self::default(), false);
        for (path, section) in sections {
            let Some(text) = path.as_ref().map(text_of).transpose()?.flatten() else { continue };
            for line in lines_of(&text, &section) {
                is_there = true;
                profile.take(line);
            }
        }
        let files = [credentials, config].into_iter().flatten();
        let files = files.map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ");
        if named.is_some() && !is_there {
            return Err(format!("there is no profile '{name}' in {files}"));
        }
        match &profile.by {
            Some(by) if needs_keys && profile.key_id.is_none() => Err(format!(
                "the profile '{name}' gets its keys by {by}, which is not done here; \
                 'aws configure export-credentials --profile {name} --format env' gives them"
            )),
            _ => Ok(profile),
        }
    }

    fn take(&mut self, (name, value): (&str, &str)) {
        let place = match name {
            "aws_access_key_id" => &mut self.key_id,
            "aws_secret_access_key" => &mut self.secret,
            "aws_session_token" => &mut self.token,
            "region" => &mut self.region,
            "endpoint_url" => &mut self.endpoint,
            _ if OTHERS.contains(&name) => {
                self.by.get_or_insert_with(|| name.to_owned());
                return;
            }
            _ => return,
        };
        // The first file has precedence.
        place.get_or_insert_with(|| value.to_owned());
    }
}

fn config_section(name: &str) -> String {
    if name == "default" { name.to_owned() } else { format!("profile {name}") }
}

fn text_of(path: &PathBuf) -> Result<Option<String>, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// The settings of a section; an indented line is one of a setting's own.
fn lines_of<'t>(text: &'t str, section: &str) -> impl Iterator<Item = (&'t str, &'t str)> {
    let mut is_in = false;
    let settings = text.lines().filter(move |line| {
        if let Some(header) = line.trim_end().strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default();
            let mut words = header.split_whitespace();
            is_in = words.by_ref().eq(section.split_whitespace());
            return false;
        }
        is_in && !line.starts_with(['#', ';', ' ', '\t'])
    });
    settings.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim(), value.trim())).filter(|(_, value)| !value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(home: &tempfile::TempDir, profile: &str) -> Environment {
        let home = home.path().display().to_string();
        Environment::of(&[("HOME", home.as_str()), ("AWS_PROFILE", profile)])
    }

    #[test]
    fn keys_and_settings_are_in_two_files_under_names_that_differ() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let write = |name: &str, text: &str| fs::write(home.path().join(".aws").join(name), text);
        write(
            "credentials",
            "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=B=/+\n\n[two]\r\n\
             aws_access_key_id=C\r\naws_secret_access_key=D\r\naws_session_token=E\r\n",
        )
        .unwrap();
        write(
            "config",
            "[default]\nregion=eu-west-1\naws_access_key_id=X\ns3 =\n  endpoint_url = http://no\n\
             [profile  two]\n\
             region = us-west-2 \nendpoint_url = http://h:1\n[profile sso]\nsso_session = x\n",
        )
        .unwrap();
        let some = |text: &str| Some(text.to_owned());
        let default = Profile {
            key_id: some("A"),
            secret: some("B=/+"),
            region: some("eu-west-1"),
            ..Profile::default()
        };
        assert_eq!(Profile::read(None, true, &environment(&home, "")), Ok(default));
        let two = Profile {
            key_id: some("C"),
            secret: some("D"),
            token: some("E"),
            region: some("us-west-2"),
            endpoint: some("http://h:1"),
            by: None,
        };
        assert_eq!(Profile::read(None, true, &environment(&home, "two")), Ok(two.clone()));
        assert_eq!(Profile::read(Some("two"), true, &environment(&home, "default")), Ok(two));
        let said = Profile::read(Some("sso"), true, &environment(&home, "")).unwrap_err();
        assert!(said.starts_with("the profile 'sso' gets its keys by sso_session, "), "{said}");
        assert!(Profile::read(Some("sso"), false, &environment(&home, "")).is_ok());
        let said = Profile::read(Some("no"), true, &environment(&home, "")).unwrap_err();
        let dir = home.path().display();
        let files = format!("{dir}/.aws/credentials or {dir}/.aws/config");
        assert_eq!(said, format!("there is no profile 'no' in {files}"));
    }

    #[test]
    fn without_files_there_is_nothing_and_no_error() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Profile::read(None, true, &environment(&home, "")), Ok(Profile::default()));
        assert_eq!(Profile::read(None, true, &Environment::of(&[])), Ok(Profile::default()));
    }
}
