//! Who may read a site.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use underpass_serve::Endpoint;
use underpass_serve::access::{Access, AccessOptions};
use underpass_serve::pattern::Pattern;

use crate::exit::{say, with_remedy};

/// What browsers show if no one says otherwise.
const REALM: &str = "underpass";

/// The flags about names and passwords.
#[derive(Debug, Args)]
#[command(next_help_heading = "Passwords")]
pub(crate) struct AccessArguments {
    /// Ask for a name and its password: NAME:HASH, as htpasswd prints it; may be repeated.
    ///
    /// HASH is bcrypt (htpasswd -nBC 10 NAME), SHA-crypt (openssl passwd -6) or Argon2 in the PHC
    /// form. MD5, SHA-1, DES and plain text are refused. Basic authentication: without TLS anyone
    /// on the way reads the password.
    #[arg(long, value_name = "NAME:HASH")]
    auth: Vec<String>,

    /// The same from a file of such lines, as htpasswd makes it. SIGHUP reads it again.
    ///
    /// If anything in it is wrong then, the names before stay, and a warning says what it is.
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,

    /// What a browser shows with the question.
    #[arg(long, value_name = "TEXT", default_value = REALM)]
    auth_realm: String,

    /// Ask only for the paths of this pattern, which is one of --header; may be repeated.
    ///
    /// Such as 'private/**'. A path is protected if the pattern is for what would answer it, too,
    /// such as its index page. A file that can be reached by another path, as through a link, is
    /// not protected there.
    #[arg(long, value_name = "PATTERN")]
    auth_path: Vec<Pattern>,
}

impl AccessArguments {
    /// Reads the names, if there are any.
    ///
    /// # Errors
    ///
    /// Those of [`Access::new`]; that there are paths and no names. None of them repeats a hash, in
    /// whose place there may be a password.
    pub(super) fn access(&self) -> anyhow::Result<Option<Access>> {
        let Self { auth, auth_file, auth_realm, auth_path } = self;
        if auth.is_empty() && auth_file.is_none() {
            let is_asked_for = !auth_path.is_empty() || auth_realm != REALM;
            ensure!(!is_asked_for, "--auth-path and --auth-realm need --auth or --auth-file");
            return Ok(None);
        }
        let access = Access::new(AccessOptions {
            users: auth.clone(),
            file: auth_file.clone(),
            realm: auth_realm.clone(),
            paths: auth_path.clone(),
        });
        access.map(Some).map_err(|error| with_remedy(&error, None).context("cannot use --auth"))
    }
}

/// Tells of endpoints from which passwords cross a network as they are.
pub(super) fn warn_of_readable_passwords(endpoints: &[Endpoint]) {
    let is_remote = |it: &&Endpoint| it.tcp().is_some_and(|address| !address.ip().is_loopback());
    if let Some(endpoint) = endpoints.iter().find(is_remote) {
        say(&format!(
            "warning: passwords come to {endpoint} unencrypted, unless a proxy does it: give \
             --tls-cert and --tls-key"
        ));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Arguments, Command};

    fn access(words: &[&str]) -> Result<bool, String> {
        let words = [&["underpass", "serve"], words].concat();
        let parsed = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Serve(wanted) = parsed.command else { panic!("the command is serve") };
        let access = wanted.0.site.access().map_err(|error| format!("{error:#}"));
        access.map(|access| access.is_some())
    }

    #[test]
    fn names_are_asked_for_where_there_are_any_and_a_password_is_not_repeated() {
        let bob = "--auth=bob:$2y$05$0.jqSv0sdwEFhDslrWutCe/qnWBM7Lq2ps5XDP/WR2D7C36g8KmUi";
        assert_eq!(access(&[]), Ok(false));
        for words in [&[bob][..], &[bob, "--auth-path=a/**", "--auth-path=b", "--auth-realm=x"]] {
            assert_eq!(access(words), Ok(true));
        }
        for (words, reason) in [
            (&["--auth-path=a"][..], "need --auth or --auth-file"),
            (&["--auth-realm=a"], "need --auth or --auth-file"),
            (&[bob, "--auth-path=a["], "is not a pattern"),
            (&[bob, bob], "cannot use --auth: there are two of bob"),
            (&[bob, "--auth-realm=\u{e9}"], "the realm has other characters"),
            (&["--auth=secret"], "cannot use --auth: it is not NAME:HASH"),
            (&["--auth=bob:secret"], "'htpasswd -nBC 10 bob'"),
            (&["--auth-file=/no/such"], "cannot use --auth: cannot read /no/such: No such file"),
        ] {
            let error = access(words).unwrap_err();
            assert!(error.contains(reason) && !error.contains("secret"), "{error}");
        }
    }
}
