//! The names that a topic may have.
//!
//! A name is part of a directory's, so these rules also keep a client out of other directories.
//!
//! Source: Kafka's `Topic.java`: `validate` and `hasCollisionChars`.

/// The most characters of a name: with a dash and the partition's number it is still a file's name.
const NAME_BYTES_MAX: usize = 249;

/// Why a topic cannot be called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameFault {
    #[error("a topic's name cannot be empty")]
    Empty,
    #[error("a topic's name cannot be '.' or '..'")]
    Dots,
    #[error("a topic's name has at most {NAME_BYTES_MAX} characters, and this one has {0}")]
    Long(usize),
    #[error(
        "a topic's name consists of ASCII letters, digits, '.', '_' and '-', and character {at} \
         of this one is {character:?}"
    )]
    Character { character: char, at: usize },
}

/// Whether a topic may have this name.
pub(crate) fn check(name: &str) -> Result<(), NameFault> {
    match name {
        "" => return Err(NameFault::Empty),
        "." | ".." => return Err(NameFault::Dots),
        _ if name.len() > NAME_BYTES_MAX => return Err(NameFault::Long(name.chars().count())),
        _ => {}
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.chars().enumerate().find(|&(_, character)| !is_allowed(character)) {
        Some((index, character)) => Err(NameFault::Character { character, at: index + 1 }),
        None => Ok(()),
    }
}

/// Whether metrics, in whose names a dot becomes an underscore, would take one for the other.
pub(crate) fn collide(one: &str, other: &str) -> bool {
    let same = |(a, b): (u8, u8)| a == b || matches!((a, b), (b'.', b'_') | (b'_', b'.'));
    one.len() == other.len() && one.bytes().zip(other.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kafka_allows() {
        let longest = "x".repeat(249);
        for name in ["a", "A.b_c-9", "...", "-", "__consumer_offsets", &longest] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let cases = [
            ("", NameFault::Empty),
            (".", NameFault::Dots),
            ("..", NameFault::Dots),
            ("a/b", NameFault::Character { character: '/', at: 2 }),
            ("a b", NameFault::Character { character: ' ', at: 2 }),
            ("né", NameFault::Character { character: 'é', at: 2 }),
            ("a\0", NameFault::Character { character: '\0', at: 2 }),
            (&"x".repeat(250), NameFault::Long(250)),
        ];
        for (name, fault) in cases {
            assert_eq!(check(name), Err(fault), "{name:?}");
        }
    }

    #[test]
    fn names_collide_if_they_differ_by_dots_and_underscores_alone() {
        assert!(collide("a.b", "a_b") && collide("a_b", "a.b") && collide("a", "a"));
        assert!(!collide("a.b", "a-b") && !collide("a.b", "a.b.") && !collide("a.b", "a.c"));
    }
}
