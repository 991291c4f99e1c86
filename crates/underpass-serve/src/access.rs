//! Names and passwords: who may read, by Basic authentication.
//!
//! A request is asked for them before anything is looked up, so that a 401 tells nothing of files.
//! To compare a password with its hash is slow, and as slow for a name that there is not. A pair
//! that was found right is remembered, under a key of this process, until the names are read again.
//!
//! Source: RFC 7617 (Basic); RFC 9110 §11 (challenges and credentials), §15.5.2 (401); RFC 9111
//! §3.5 (caches and credentials), §5.2.2.7 (private).

mod htpasswd;
mod verify;

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::StatusCode;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use lru::LruCache;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::answer::Answer;
use crate::conditional::sole;
use crate::lookup::Lookup;
use crate::pattern::Pattern;
use crate::refusal::chain;
use crate::stations::Step;
use crate::target::Target;

use self::htpasswd::{Hashes, add, add_file};
use self::verify::{Gate, Hash};

pub use self::htpasswd::{UserError, UsersError};
pub use self::verify::HashError;

/// Pairs that are remembered: one that is used is kept.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Who may read what.
pub struct Access {
    challenge: HeaderValue,
    /// The paths that are for those with a password; if there are none, all.
    paths: Vec<Pattern>,
    /// `NAME:HASH` of those that are not in the file.
    given: Vec<String>,
    file: Option<PathBuf>,
    users: RwLock<Arc<Users>>,
    gate: Gate,
}

/// Who may read what, as it is asked for.
#[derive(Debug, Clone)]
pub struct AccessOptions {
    /// `NAME:HASH`.
    pub users: Vec<String>,
    /// A file of such lines, which is read again.
    pub file: Option<PathBuf>,
    /// What browsers show with the question.
    pub realm: String,
    /// The paths that it is for; if there are none, all.
    pub paths: Vec<Pattern>,
}

/// Why no one could get in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The names and passwords cannot be used.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// A field cannot hold the realm.
    #[error("the realm has other characters than visible ASCII and spaces")]
    Realm,
}

impl Access {
    /// Reads the names.
    ///
    /// # Errors
    ///
    /// [`AccessError`].
    pub fn new(options: AccessOptions) -> Result<Self, AccessError> {
        let AccessOptions { users: given, file, realm, paths } = options;
        if !realm.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(AccessError::Realm);
        }
        let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let challenge = HeaderValue::try_from(challenge).map_err(|_| AccessError::Realm)?;
        let users = RwLock::new(Arc::new(Users::read(&given, file.as_deref())?));
        Ok(Self { challenge, paths, given, file, users, gate: Gate::default() })
    }

    /// Reads the file again; if anything is wrong, the names before stay.
    pub(crate) fn reload(&self) {
        match Users::read(&self.given, self.file.as_deref()) {
            Ok(users) => {
                *self.users.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(users);
            }
            Err(error) => {
                tracing::warn!("names and passwords stay what they were: {}", chain(&error));
            }
        }
    }

    /// The file that is read again.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether a decoded path, or what would answer for it, is for those with a password.
    pub(crate) fn protects(&self, path: &[u8], lookup: &Lookup) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| lookup.is_meant(pattern, path))
    }

    /// The same of the path of a URI; what is malformed is protected.
    pub(crate) fn protects_uri(&self, path: &str, lookup: &Lookup) -> bool {
        Target::parse(path).map_or(true, |target| self.protects(target.as_bytes(), lookup))
    }

    /// Looks whether a request comes with a name and its password.
    pub(crate) fn admit(self: &Arc<Self>, headers: &HeaderMap) -> Step {
        let Some(given) = Credentials::of(headers) else { return Step::Answer(self.ask()) };
        let users = Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner));
        if users.remember(&given) {
            return Step::Go;
        }
        let access = Arc::clone(self);
        Step::Wait(Box::pin(async move {
            match access.gate.run(move || users.know(&given)).await {
                Some(true) => None,
                Some(false) => Some(access.ask()),
                None => Some(Answer::error(StatusCode::SERVICE_UNAVAILABLE)),
            }
        }))
    }

    /// The name that comes with a request, if its password is known to be right.
    pub(crate) fn user_of(&self, headers: &HeaderMap) -> Option<Box<str>> {
        let given = Credentials::of(headers)?;
        let users = Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner));
        users.remember(&given).then(|| given.parts().0.into())
    }

    fn ask(&self) -> Answer {
        let mut answer = Answer::error(StatusCode::UNAUTHORIZED);
        answer.headers.insert(WWW_AUTHENTICATE, self.challenge.clone());
        answer
    }
}

/// Nothing of the names: what stands here may be printed.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// Has no cache that others share keep an answer.
pub(crate) fn make_private(headers: &mut HeaderMap) {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let is_for_all = |it: &str| it == "public" || it.starts_with("s-maxage");
    let mut kept: Vec<_> =
        directives.filter(|it| !it.is_empty() && !is_for_all(&it.to_ascii_lowercase())).collect();
    if !kept.iter().any(|it| matches!(&*it.to_ascii_lowercase(), "private" | "no-store")) {
        kept.push("private");
    }
    let private = HeaderValue::try_from(kept.join(", "));
    headers.insert(CACHE_CONTROL, private.unwrap_or(HeaderValue::from_static("private")));
}

/// A name and a password that came with a request: `NAME:PASSWORD`.
struct Credentials(String);

/// RFC 7617 leaves no choice about the padding, and some clients take one.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Credentials {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = sole(headers, &AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(BASE64.decode(token.trim()).ok()?).ok()?;
        // RFC 7617 §2: neither has control characters. To some functions a NUL is an end.
        (pair.contains(':') && !pair.chars().any(char::is_control)).then_some(Self(pair))
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or_default()
    }
}

/// Names, and the hashes of their passwords.
struct Users {
    hashes: Vec<Hash>,
    by_name: HashMap<String, usize>,
    key: hmac::Key,
    /// What was found right: what it is under the key.
    remembered: Mutex<LruCache<Box<[u8]>, ()>>,
}

impl Users {
    fn read(given: &[String], file: Option<&Path>) -> Result<Self, UsersError> {
        let mut all = Hashes::new();
        for user in given {
            add(user, &mut all)?;
        }
        if let Some(path) = file {
            add_file(path, &mut all)?;
            if all.is_empty() {
                tracing::warn!("no one is in {}, and no one gets in", path.display());
            }
        }
        let (mut hashes, mut by_name) = (Vec::new(), HashMap::new());
        for (name, hash) in all {
            by_name.insert(name, hashes.len());
            hashes.push(hash);
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.expect("the kernel has random numbers");
        let remembered = Mutex::new(LruCache::new(REMEMBERED_MAX));
        Ok(Self { hashes, by_name, key, remembered })
    }

    /// Whether the pair was found right before.
    fn remember(&self, given: &Credentials) -> bool {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(hmac::sign(&self.key, given.0.as_bytes()).as_ref()).is_some()
    }

    /// Whether the pair is right. Slow.
    fn know(&self, given: &Credentials) -> bool {
        let (name, password) = given.parts();
        let Some((hash, is_known)) = self.hash_of(name) else { return false };
        let is_right = hash.is_of(password.as_bytes()) && is_known;
        if is_right {
            let tag = hmac::sign(&self.key, given.0.as_bytes());
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            remembered.put(tag.as_ref().into(), ());
        }
        is_right
    }

    /// The hash to compare with, and whether it is that of the name: a name that there is not takes
    /// as long as one that there is, and always the same one.
    fn hash_of(&self, name: &str) -> Option<(&Hash, bool)> {
        if let Some(&index) = self.by_name.get(name) {
            return Some((&self.hashes[index], true));
        }
        let tag = hmac::sign(&self.key, name.as_bytes());
        let number = tag
            .as_ref()
            .iter()
            .fold(0, |number: usize, &byte| number.wrapping_mul(256).wrapping_add(byte.into()));
        Some((&self.hashes[number.checked_rem(self.hashes.len())?], false))
    }
}

#[cfg(test)]
mod tests;
