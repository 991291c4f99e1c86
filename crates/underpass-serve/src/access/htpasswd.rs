//! Names and the hashes of their passwords, as htpasswd(1) keeps them.
//!
//! What is wrong is told without repeating any of it but the name: what stands in the place of a
//! hash may be a password.
//!
//! Source: htpasswd(1); RFC 7617 §2 (names and passwords).

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::verify::{Hash, HashError};

/// A file is not read past this: it has some 70 bytes for each of its names.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The hash of each name's password.
pub(super) type Hashes = HashMap<String, Hash>;

/// Why there are no names and passwords.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is longer than any.
    #[error("{} has more than {FILE_BYTES_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    /// A line of it is wrong.
    #[error("{}, line {line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
        /// Why.
        source: UserError,
    },
    /// One that was given by itself is wrong.
    #[error(transparent)]
    User(#[from] UserError),
}

/// Why a text is not a name and the hash of its password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// There is no colon, or nothing before it, or a name has what none may have.
    #[error("it is not NAME:HASH")]
    Form,
    /// Its hash is not used here.
    #[error(
        "the password of {name} cannot be used: {why}; make NAME:HASH by \
         'htpasswd -nBC 10 {name}', or HASH by 'openssl passwd -6'"
    )]
    Hash {
        /// The name.
        name: String,
        /// What is wrong.
        why: HashError,
    },
    /// It was there before.
    #[error("there are two of {0}")]
    Twice(String),
}

/// Adds `NAME:HASH`. What follows a further colon is a comment.
pub(super) fn add(text: &str, to: &mut Hashes) -> Result<(), UserError> {
    let (name, rest) = text.split_once(':').ok_or(UserError::Form)?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(UserError::Form);
    }
    let hash = rest.split(':').next().unwrap_or_default();
    let hash = hash.parse().map_err(|why| UserError::Hash { name: name.to_owned(), why })?;
    match to.insert(name.to_owned(), hash) {
        None => Ok(()),
        Some(_) => Err(UserError::Twice(name.to_owned())),
    }
}

/// Adds those of a file, one a line; empty lines, and those that begin with `#`, are left out.
pub(super) fn add_file(path: &Path, to: &mut Hashes) -> Result<(), UsersError> {
    let text = read(path)?;
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let line = std::str::from_utf8(line).map_err(|_| UserError::Form);
        line.and_then(|line| add(line, to)).map_err(|source| UsersError::Line {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, UsersError> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    read.map_err(|error| UsersError::Read(path.to_owned(), error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(UsersError::TooLong(path.to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::chain;

    const HASH: &str = "$2y$05$0.jqSv0sdwEFhDslrWutCe/qnWBM7Lq2ps5XDP/WR2D7C36g8KmUi";

    /// What is read of a file with this text, or what is wrong with it, without the directory.
    fn names(text: &[u8]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::fs::write(&path, text).unwrap();
        let mut hashes = Hashes::new();
        match add_file(&path, &mut hashes) {
            Ok(()) => {
                let mut names: Vec<_> = hashes.into_keys().collect();
                names.sort();
                Ok(names)
            }
            Err(error) => {
                let dir = format!("{}/", dir.path().display());
                Err(chain(&error).replace(&dir, ""))
            }
        }
    }

    #[test]
    fn a_file_has_a_name_and_a_hash_a_line() {
        let text = format!("# users\n\nbob:{HASH}\r\n  \nal ice:{HASH}:a comment\n\u{e9}:{HASH}");
        assert_eq!(names(text.as_bytes()).unwrap(), ["al ice", "bob", "\u{e9}"]);
        assert!(names(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_password() {
        for (text, reason) in [
            (format!("bob:{HASH}\n\nsecret\n"), "users, line 3: it is not NAME:HASH"),
            (format!(":{HASH}"), "users, line 1: it is not NAME:HASH"),
            (format!("b\tob:{HASH}"), "users, line 1: it is not NAME:HASH"),
            (
                "bob:secret".into(),
                "users, line 1: the password of bob cannot be used: it is plain text, or of a form \
                 that is not known here; make NAME:HASH by 'htpasswd -nBC 10 bob', or HASH by \
                 'openssl passwd -6'",
            ),
            (format!("bob:{HASH}\nbob:{HASH}"), "users, line 2: there are two of bob"),
        ] {
            let error = names(text.as_bytes()).unwrap_err();
            assert_eq!(error, reason);
            assert!(!error.contains("secret"));
        }
        assert!(names(b"b\xff:x").unwrap_err().ends_with("line 1: it is not NAME:HASH"));
        let long = vec![b'\n'; usize::try_from(FILE_BYTES_MAX).unwrap() + 1];
        assert_eq!(names(&long).unwrap_err(), "users has more than 16777216 bytes");
        let none = add_file(Path::new("/no/such"), &mut Hashes::new()).unwrap_err();
        let reason = "cannot read /no/such: No such file or directory (os error 2)";
        assert_eq!(chain(&none), reason);
    }
}
