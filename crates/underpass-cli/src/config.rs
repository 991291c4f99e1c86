//! The file of settings of a server: its keys become flags, where they were not typed.
//!
//! Each value is checked by the flag's own parser, so that an error has the place in the file.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use underpass_daemon::config::{self, Setting, Value};

use crate::echo::EchoArguments;
use crate::exit::{say, with_remedy};
use crate::relay::RelayArguments;
use crate::serve::ServeArguments;
use crate::tsdb;

/// Flags that say what to do with the file, and are not in it.
const NOT_KEYS: [&str; 3] = ["help", "config", "check_config"];

/// A file of settings and the server that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    command: Command,
    /// How many words its name has.
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
    let settings = config.read()?;
    let (mut flags, mut positionals) = (Vec::new(), Vec::new());
    for setting in &settings {
        let arg = config.arg(&setting.key);
        if !config.is_overridden(arg, &typed) {
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
    }
    positionals.sort_by_key(|(index, _)| *index);
    let values = positionals.iter().flat_map(|(_, setting)| &setting.values);
    let values: Vec<OsString> = values.map(|it| (&it.text).into()).collect();
    let (command, rest) = arguments.split_at(1 + config.words);
    // What follows is neither a flag nor the value of one.
    let ends_flags = (!values.is_empty() && !rest.iter().any(|it| it == "--")).then(|| "--".into());
    Ok([command, &flags, rest, ends_flags.as_slice(), &values].concat())
}

impl Config {
    /// The file of settings that was named, and what else was typed.
    fn find(arguments: &[OsString]) -> Option<(Self, ArgMatches)> {
        let of_words = |words: usize| {
            let name: Option<Vec<_>> =
                arguments.get(1..=words)?.iter().map(|it| it.to_str()).collect();
            Some((command(&name?.join(" "))?, words))
        };
        let (command, words) = of_words(1).or_else(|| of_words(2))?;
        // What is missing may be in the file; what is wrong is said when all is together.
        let lenient = command.clone().ignore_errors(true);
        let typed = lenient.try_get_matches_from(arguments.iter().skip(words)).ok()?;
        let path = typed.get_one::<PathBuf>("config")?.clone();
        Some((Self { command, words, path }, typed))
    }

    /// The settings in the file, each of which its flag takes.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<Setting>> {
        let keys: Vec<String> = self.args().map(key).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let settings =
            config::read(&self.path, &keys).map_err(|error| with_remedy(&error, None))?;
        for setting in &settings {
            self.check(setting)?;
        }
        Ok(settings)
    }

    fn check(&self, setting: &Setting) -> anyhow::Result<()> {
        let (arg, key) = (self.arg(&setting.key), &setting.key);
        if setting.is_list && !matches!(arg.get_action(), ArgAction::Append) {
            bail!("{}:{}: '{key}' takes one value, and not a list", self.name(), setting.place);
        }
        for value in &setting.values {
            let is_flag = !arg.get_action().takes_values();
            if is_flag && !matches!(value.text.as_str(), "true" | "false") {
                bail!("{}:{}: '{key}' is either true or false", self.name(), value.place);
            }
            if !is_flag && let Err(problem) = parse(arg, value) {
                let place = value.place;
                bail!(
                    "{}:{place}: invalid value '{}' for '{key}': {problem}",
                    self.name(),
                    value.text
                );
            }
        }
        Ok(())
    }

    fn say_changed(&self, first: &[Setting], now: &[Setting]) {
        let is_in = |setting: &Setting, settings: &[Setting]| {
            let is_same = |it: &Setting| it.key == setting.key && texts(it).eq(texts(setting));
            settings.iter().any(is_same)
        };
        let set = now.iter().filter(|setting| !is_in(setting, first));
        let unset = first.iter().filter(|setting| !is_in(setting, now));
        let mut changed: Vec<&str> = set.chain(unset).map(|it| it.key.as_str()).collect();
        changed.sort_unstable();
        changed.dedup();
        if changed.is_empty() {
            say(&format!("{} says what it said at the start", self.name()));
        } else {
            let changed = changed.join(", ");
            say(&format!("{} was read; a restart would change: {changed}", self.name()));
        }
    }

    fn name(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    fn args(&self) -> impl Iterator<Item = &Arg> {
        self.command.get_arguments().filter(|arg| !NOT_KEYS.contains(&arg.get_id().as_str()))
    }

    fn arg(&self, wanted: &str) -> &Arg {
        self.args().find(|arg| key(arg) == wanted).expect("only keys of flags are read")
    }

    /// Whether it was typed, or something that excludes it.
    fn is_overridden(&self, arg: &Arg, typed: &ArgMatches) -> bool {
        let is_typed =
            |arg: &Arg| typed.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let excludes = |one: &Arg, other: &Arg| {
            let excluded = self.command.get_arg_conflicts_with(one);
            excluded.iter().any(|it| it.get_id() == other.get_id())
        };
        self.args().filter(|other| is_typed(other)).any(|other| {
            other.get_id() == arg.get_id() || excludes(other, arg) || excludes(arg, other)
        })
    }
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
    let words = name.split(' ').count();
    let config = command(name).zip(path).map(|(command, path)| Config { command, words, path });
    let first = config.as_ref().and_then(|config| config.read().ok()).unwrap_or_default();
    move || match config.as_ref().map(|config| (config, config.read())) {
        Some((config, Ok(settings))) => config.say_changed(&first, &settings),
        Some((_, Err(error))) => say(&format!("the settings stay what they were: {error}")),
        None => {}
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
