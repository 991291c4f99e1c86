//! The file of settings of a server: its keys become flags, where they were not typed.
//!
//! Each value is checked by the flag's own parser, so that an error has the place in the file.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{anyhow, bail};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use underpass_daemon::config::{self, Keys, Setting, Settings, Table, Value};
use underpass_serve::{HostPattern, HostPatternError};

use crate::echo::EchoArguments;
use crate::exit::{say, with_remedy};
use crate::relay::RelayArguments;
use crate::serve::ServeArguments;
use crate::serve::site::SiteArguments;
use crate::tsdb;

/// Flags that say what to do with the file, and are not in it.
const NOT_KEYS: [&str; 4] = ["help", "config", "check_config", "only_check"];

/// The flags of a command, as keys.
#[derive(Debug, Clone)]
struct Flags(Command);

/// A file of settings and the server that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    flags: Flags,
    /// Those of one virtual host, where there are such.
    of_host: Option<Flags>,
    /// How many words the name of the command has.
    words: usize,
    path: PathBuf,
}

/// What was typed, with the settings of the file that was named added to it.
///
/// # Errors
///
/// That the file cannot be used.
pub(crate) fn expand(arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let Some((config, typed)) = Config::find(&arguments) else { return Ok(arguments) };
    let settings = config.read()?.top;
    let is_left = |setting: &&Setting| !config.flags.is_overridden(&setting.key, &typed);
    let (flags, values) = config.flags.typed(settings.iter().filter(is_left));
    let (command, rest) = arguments.split_at(1 + config.words);
    // What follows is neither a flag nor the value of one.
    let ends_flags = (!values.is_empty() && !rest.iter().any(|it| it == "--")).then(|| "--".into());
    Ok([command, &flags, rest, ends_flags.as_slice(), &values].concat())
}

/// The sites of virtual hosts in the file of settings of `serve`. `has_site` says whether there is
/// one without a table too.
///
/// # Errors
///
/// That the file cannot be used.
pub(crate) fn hosts(
    path: &Path,
    has_site: bool,
) -> anyhow::Result<Vec<(HostPattern, SiteArguments)>> {
    let Some(config) = Config::of("serve", path.into()) else { return Ok(Vec::new()) };
    let Settings { top, tables } = config.read()?;
    let Some(flags) = config.of_host.as_ref().filter(|_| !tables.is_empty()) else {
        return Ok(Vec::new());
    };
    if let Some(lost) = top.iter().find(|it| !has_site && flags.keys().contains(&it.key)) {
        let wanted = "give 'directory' too, for hosts without a table, or move it into a table";
        bail!("{}:{}: '{}' is of no site: {wanted}", path.display(), lost.place, lost.key);
    }
    tables.iter().map(|table| host(path, flags, table, has_site)).collect()
}

fn host(
    path: &Path,
    flags: &Flags,
    table: &Table,
    has_site: bool,
) -> anyhow::Result<(HostPattern, SiteArguments)> {
    let wrong = |problem: &dyn fmt::Display| {
        anyhow!("{}:{}: host '{}': {problem}", path.display(), table.place, table.name)
    };
    let pattern = table.name.parse().map_err(|error: HostPatternError| wrong(&error))?;
    if pattern == HostPattern::Others && has_site {
        return Err(wrong(&"there is a site for other hosts already, that of the directory above"));
    }
    let says_what = |setting: &Setting| matches!(&*setting.key, "directory" | "origin");
    if !table.settings.iter().any(says_what) {
        return Err(wrong(&"there is neither 'directory' nor 'origin'"));
    }
    let (words, values) = flags.typed(table.settings.iter());
    let words = [&words, &["--".into()][..], &values].concat();
    let parsed = flags.0.clone().no_binary_name(true).try_get_matches_from(words);
    let arguments = parsed.and_then(|matches| SiteArguments::from_arg_matches(&matches));
    Ok((pattern, arguments.map_err(|error| wrong(&first_line(&error)))?))
}

/// What clap says, without how the command is used.
pub(crate) fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl Flags {
    fn args(&self) -> impl Iterator<Item = &Arg> {
        self.0.get_arguments().filter(|arg| !NOT_KEYS.contains(&arg.get_id().as_str()))
    }

    fn arg(&self, wanted: &str) -> &Arg {
        self.args().find(|arg| key(arg) == wanted).expect("only keys of flags are read")
    }

    fn keys(&self) -> Vec<String> {
        self.args().map(key).collect()
    }

    /// Settings as they would be typed: flags, and arguments that have none.
    fn typed<'s>(
        &self,
        settings: impl Iterator<Item = &'s Setting>,
    ) -> (Vec<OsString>, Vec<OsString>) {
        let (mut flags, mut positionals) = (Vec::new(), Vec::new());
        for setting in settings {
            let arg = self.arg(&setting.key);
            match (arg.is_positional(), arg.get_action().takes_values()) {
                (true, _) => positionals.push((arg.get_index(), setting)),
                (false, true) => flags.extend(
                    setting
                        .values
                        .iter()
                        .map(|value| OsString::from(format!("--{}={}", setting.key, value.text))),
                ),
                (false, false) if setting.values.iter().any(|value| value.text == "true") => {
                    flags.push(format!("--{}", setting.key).into());
                }
                (false, false) => {}
            }
        }
        positionals.sort_by_key(|(index, _)| *index);
        let values = positionals.iter().flat_map(|(_, setting)| &setting.values);
        (flags, values.map(|it| (&it.text).into()).collect())
    }

    /// Checks that the flag of a setting takes it.
    fn check(&self, path: &Path, setting: &Setting) -> anyhow::Result<()> {
        let (arg, key, path) = (self.arg(&setting.key), &setting.key, path.display());
        if setting.is_list && !matches!(arg.get_action(), ArgAction::Append) {
            bail!("{path}:{}: '{key}' takes one value, and not a list", setting.place);
        }
        for value in &setting.values {
            let (place, text) = (value.place, &value.text);
            let is_flag = !arg.get_action().takes_values();
            if is_flag && !matches!(text.as_str(), "true" | "false") {
                bail!("{path}:{place}: '{key}' is either true or false");
            }
            if !is_flag && let Err(problem) = parse(arg, value) {
                bail!("{path}:{place}: invalid value '{text}' for '{key}': {problem}");
            }
        }
        Ok(())
    }

    /// Whether a key was typed, or something that excludes it.
    fn is_overridden(&self, key: &str, typed: &ArgMatches) -> bool {
        let arg = self.arg(key);
        let is_typed =
            |arg: &Arg| typed.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let excludes = |one: &Arg, other: &Arg| {
            let excluded = self.0.get_arg_conflicts_with(one);
            excluded.iter().any(|it| it.get_id() == other.get_id())
        };
        self.args().filter(|other| is_typed(other)).any(|other| {
            other.get_id() == arg.get_id() || excludes(other, arg) || excludes(arg, other)
        })
    }
}

impl Config {
    fn of(name: &str, path: PathBuf) -> Option<Self> {
        let flags = Flags(command(name)?);
        let of_host = (name == "serve").then(|| {
            let mut host = SiteArguments::augment_args(Command::new("host"));
            host.build();
            Flags(host)
        });
        Some(Self { flags, of_host, words: name.split(' ').count(), path })
    }

    /// The file of settings that was named, and what else was typed.
    fn find(arguments: &[OsString]) -> Option<(Self, ArgMatches)> {
        let of_words = |words: usize| {
            let name: Option<Vec<_>> =
                arguments.get(1..=words)?.iter().map(|it| it.to_str()).collect();
            Self::of(&name?.join(" "), PathBuf::new())
        };
        let config = of_words(1).or_else(|| of_words(2))?;
        // What is missing may be in the file; what is wrong is said when all is together.
        let lenient = config.flags.0.clone().ignore_errors(true);
        let typed = lenient.try_get_matches_from(arguments.iter().skip(config.words)).ok()?;
        let path = typed.get_one::<PathBuf>("config")?.clone();
        Some((Self { path, ..config }, typed))
    }

    /// The settings in the file, each of which its flag takes.
    fn read(&self) -> anyhow::Result<Settings> {
        let [top, of_host] = [Some(&self.flags), self.of_host.as_ref()]
            .map(|flags| flags.map(Flags::keys).unwrap_or_default());
        let [top, of_host] =
            [&top, &of_host].map(|keys| keys.iter().map(String::as_str).collect::<Vec<_>>());
        let table = self.of_host.as_ref().map(|_| ("host", of_host.as_slice()));
        let settings = config::read(&self.path, Keys { top: &top, table })
            .map_err(|error| with_remedy(&error, None))?;
        settings.top.iter().try_for_each(|setting| self.flags.check(&self.path, setting))?;
        for setting in settings.tables.iter().flat_map(|table| &table.settings) {
            self.of_host.iter().try_for_each(|flags| flags.check(&self.path, setting))?;
        }
        Ok(settings)
    }

    /// Says what has changed: of sites since the last time, of all others since the start.
    fn say_changed(&self, first: &Settings, last: &Settings, now: &Settings) {
        let of_site = self.of_host.as_ref().map(Flags::keys).unwrap_or_default();
        let is_of_site = |key: &&str| of_site.iter().any(|it| it == key);
        let sites = changed(&last.top, &now.top).into_iter().any(|key| is_of_site(&key))
            || !is_same(&last.tables, &now.tables);
        let mut others = changed(&first.top, &now.top);
        others.retain(|key| !is_of_site(key));
        let (name, others) = (self.path.display(), others.join(", "));
        say(&match (sites, others.is_empty()) {
            (false, true) => format!("{name} says what it said at the start"),
            (false, false) => format!("{name} was read; a restart would change: {others}"),
            (true, true) => format!("{name} was read, and its sites are served"),
            (true, false) => {
                format!(
                    "{name} was read, and its sites are served; a restart would change: {others}"
                )
            }
        });
    }
}

/// The keys that two files do not set to the same, in order.
fn changed<'s>(one: &'s [Setting], other: &'s [Setting]) -> Vec<&'s str> {
    let is_in = |setting: &Setting, settings: &[Setting]| {
        let is_same = |it: &Setting| it.key == setting.key && texts(it).eq(texts(setting));
        settings.iter().any(is_same)
    };
    let set = other.iter().filter(|setting| !is_in(setting, one));
    let unset = one.iter().filter(|setting| !is_in(setting, other));
    let mut changed: Vec<&str> = set.chain(unset).map(|it| it.key.as_str()).collect();
    changed.sort_unstable();
    changed.dedup();
    changed
}

fn is_same(one: &[Table], other: &[Table]) -> bool {
    let is_same = |(one, other): (&Table, &Table)| {
        one.name == other.name && changed(&one.settings, &other.settings).is_empty()
    };
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

/// A server's command, with its flags.
fn command(name: &str) -> Option<Command> {
    let mut command = match name {
        "serve" => ServeArguments::augment_args(Command::new("serve")),
        "relay" => RelayArguments::augment_args(Command::new("relay")),
        "log" => crate::log::ServeArguments::augment_args(Command::new("log")),
        "echo" => EchoArguments::augment_args(Command::new("echo")),
        "tsdb serve" => tsdb::ServeArguments::augment_args(Command::new("serve")),
        _ => return None,
    };
    command.build();
    Some(command)
}

/// Reads the file of a server again, at each call, and says what a restart would change.
pub(crate) fn reader(name: &str, path: Option<PathBuf>) -> impl Fn() + Send + Sync + use<> {
    let reading = path.is_some();
    let reload = reloader(name, path, || Ok(()));
    move || {
        if reading {
            reload();
        }
    }
}

/// The same, for one that applies some of it while it runs. What cannot be applied is said.
pub(crate) fn reloader<A>(
    name: &str,
    path: Option<PathBuf>,
    apply: A,
) -> impl Fn() + Send + Sync + use<A>
where
    A: Fn() -> anyhow::Result<()> + Send + Sync,
{
    let config = path.and_then(|path| Config::of(name, path));
    let first = config.as_ref().and_then(|config| config.read().ok()).unwrap_or_default();
    let last = Mutex::new(first.clone());
    let reload = move || {
        let read =
            config.as_ref().map(|config| anyhow::Ok((config, config.read()?))).transpose()?;
        apply()?;
        if let Some((config, now)) = read {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            config.say_changed(&first, &last, &now);
            *last = now;
        }
        anyhow::Ok(())
    };
    move || {
        if let Err(error) = reload() {
            say(&format!("the settings stay what they were: {error:#}"));
        }
    }
}

fn texts(setting: &Setting) -> impl Iterator<Item = &str> {
    setting.values.iter().map(|value| value.text.as_str())
}

/// The name of a flag, or of an argument that has none.
fn key(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().as_str().replace('_', "-"), Into::into)
}

/// What a flag's parser says against a value.
fn parse(arg: &Arg, value: &Value) -> Result<(), String> {
    let alone = Arg::new("value").value_parser(arg.get_value_parser().clone());
    let command = Command::new("").no_binary_name(true).arg(alone.allow_hyphen_values(true));
    let Err(error) = command.try_get_matches_from([&value.text]) else { return Ok(()) };
    Err(match (error.source(), error.get(ContextKind::ValidValue)) {
        (_, Some(ContextValue::Strings(words))) => format!("give one of {}", words.join(", ")),
        (Some(cause), _) => cause.to_string(),
        (None, _) => error.kind().to_string(),
    })
}
