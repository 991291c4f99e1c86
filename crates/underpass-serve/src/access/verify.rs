//! Hashes of passwords, and the work of comparing a password with one.
//!
//! The work is meant to be slow, so few do it at a time, and not many wait for it.
//!
//! Source: crypt(5); RFC 9106 (Argon2) and the PHC string format; htpasswd(1).

use std::str::FromStr;
use std::sync::Arc;

use argon2::password_hash::PasswordVerifier as _;
use argon2::{Argon2, PasswordHash};
use sha_crypt::ShaCrypt;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Passwords that are hashed at a time: each takes a processor for a while.
const AT_A_TIME: usize = 2;

/// Requests that may wait for that.
const WAITING_MAX: usize = 64;

/// As htpasswd(1) has them: some seconds.
const BCRYPT_COST_MAX: u32 = 17;

const ROUNDS_MAX: u32 = 5_000_000;

/// In KiB, of each that is hashed.
const MEMORY_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 64;

/// A password is not hashed past this: the work of SHA-crypt grows with the square of its length.
const PASSWORD_BYTES_MAX: usize = 256;

/// The hash of a password, in a form that is known and slow.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hash {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bcrypt,
    ShaCrypt,
    Argon2,
}

/// Why a text is not a hash that is used here. None of these repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// It can be turned back in no time.
    #[error("it is {0}, from which a password is found in no time")]
    Unsafe(&'static str),
    /// It is of a kind that is not implemented.
    #[error("it is {0}, which is not known here")]
    Unknown(&'static str),
    /// It does not look like a hash.
    #[error("it is plain text, or of a form that is not known here")]
    PlainText,
    /// It begins as a hash and does not end as one.
    #[error("it is not a whole {0} hash")]
    Malformed(&'static str),
    /// Comparing with it takes many seconds or much memory.
    #[error("it costs too much to compare with: {0} at most")]
    Costly(&'static str),
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let name = text.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|it| it.0);
        let kind = match name {
            Some("2a" | "2b" | "2y") => check_bcrypt(text).map(|()| Kind::Bcrypt)?,
            Some("5" | "6") => check_sha_crypt(text).map(|()| Kind::ShaCrypt)?,
            Some("argon2i" | "argon2d" | "argon2id") => {
                check_argon2(text).map(|()| Kind::Argon2)?
            }
            Some("1" | "apr1") => return Err(HashError::Unsafe("an MD5 hash")),
            Some("2" | "2x") => return Err(HashError::Unsafe("a bcrypt hash of before 2011")),
            Some("y" | "gy" | "7") => return Err(HashError::Unknown("a yescrypt or scrypt hash")),
            _ if text.starts_with("{SHA}") => {
                return Err(HashError::Unsafe("an SHA-1 hash without salt"));
            }
            _ if text.len() == 13 && text.bytes().all(is_of_crypt) => {
                return Err(HashError::Unsafe("a DES hash of crypt(3), or plain text"));
            }
            _ => return Err(HashError::PlainText),
        };
        Ok(Self { kind, text: text.to_owned() })
    }
}

impl Hash {
    /// Whether it is the hash of this password. Slow.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let text = &*self.text;
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, text).unwrap_or(false),
            Kind::ShaCrypt => ShaCrypt::default().verify_password(password, text).is_ok(),
            Kind::Argon2 => Argon2::default().verify_password(password, text).is_ok(),
        }
    }
}

fn check_bcrypt(text: &str) -> Result<(), HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed("bcrypt"))?;
    match parts.get_cost() {
        4..=BCRYPT_COST_MAX => Ok(()),
        0..4 => Err(HashError::Malformed("bcrypt")),
        _ => Err(HashError::Costly("a cost of 17")),
    }
}

fn check_sha_crypt(text: &str) -> Result<(), HashError> {
    let malformed = HashError::Malformed("SHA-crypt");
    let mut fields = text.split('$').skip(1).peekable();
    let len = if fields.next() == Some("5") { 43 } else { 86 };
    if let Some(rounds) = fields.peek().and_then(|field| field.strip_prefix("rounds=")) {
        match rounds.parse() {
            Ok(1000..=ROUNDS_MAX) => {}
            Ok(rounds) if rounds > ROUNDS_MAX => {
                return Err(HashError::Costly("5,000,000 rounds"));
            }
            Ok(_) | Err(_) => return Err(malformed),
        }
        fields.next();
    }
    let (salt, hash) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let is_whole = (1..=16).contains(&salt.len()) && hash.len() == len && fields.next().is_none();
    let is_right = is_whole && salt.bytes().chain(hash.bytes()).all(is_of_crypt);
    if is_right { Ok(()) } else { Err(malformed) }
}

fn check_argon2(text: &str) -> Result<(), HashError> {
    let malformed = HashError::Malformed("Argon2");
    let hash = PasswordHash::new(text).map_err(|_| malformed)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(malformed);
    }
    if params.m_cost() > MEMORY_MAX || params.t_cost() > PASSES_MAX {
        return Err(HashError::Costly("m=262144 (256 MiB) and t=64"));
    }
    Ok(())
}

const fn is_of_crypt(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/')
}

/// Where the slow work is done: a few at a time, and not many wait for it.
#[derive(Debug)]
pub(super) struct Gate {
    /// For those that work or wait.
    places: Semaphore,
    at_work: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        let places = Semaphore::new(AT_A_TIME + WAITING_MAX);
        Self { places, at_work: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

impl Gate {
    /// Does this on a thread that may wait. Nothing, if too many wait already, or it came to no
    /// end: a panic must not let anyone in.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _place = self.places.try_acquire().ok()?;
        let permit = Arc::clone(&self.at_work).acquire_owned().await.ok()?;
        // It is kept until the work ends, also if the client has gone: or two more could begin.
        let work = move || {
            let _permit = permit;
            work()
        };
        spawn_blocking(work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::Poll;

    use tokio::task::JoinSet;

    use super::*;

    /// By htpasswd, crypt(3) and openssl, the last that of Argon2's own tests.
    const OF_PASSWORD: [&str; 6] = [
        "$2y$05$0.jqSv0sdwEFhDslrWutCe/qnWBM7Lq2ps5XDP/WR2D7C36g8KmUi",
        "$2a$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu",
        "$5$rsghpBr1yNCeWSWe$mIHyISYXQUGwyuFmQN1VrbfAu66VtURRSJ8QEu/7JBA",
        "$6$U.FSZyEDG2aP.VgW$1f0X5Z0M0wwVZy3CY/7zEMvjIZHHSXB0AhspK2Wmfo8\
         pQ8yD3iijz/6hip5dCRUOKLztIm36MQHNmFmyg9UmU.",
        "$6$rounds=1234$saltysalt$/6W/sBQgDh7sPKsKI2G5N55NJo8cxyOhuLfgwAPY74D\
         3CESqzHdHPCORSrOsixOCqzz3wm6Vpio308AIbJrtC1",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ];

    #[test]
    fn a_hash_is_of_its_password_and_of_no_other() {
        for text in OF_PASSWORD {
            let hash: Hash = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(hash.is_of(b"password"), "{text}");
            for other in [&b"Password"[..], b"", b"password\0", &[b'x'; 300]] {
                assert!(!hash.is_of(other), "{text}");
            }
        }
    }

    #[test]
    fn what_protects_nothing_or_is_malformed_is_refused_by_its_name() {
        for (text, reason) in [
            ("$apr1$V4MPIFxT$eQ3UBN5kI4XyTLNzYzqJ51", "an MD5 hash"),
            ("$1$V4MPIFxT$eQ3UBN5kI4XyTLNzYzqJ51", "an MD5 hash"),
            ("$2x$05$aaaa", "a bcrypt hash of before 2011"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "an SHA-1 hash without salt"),
            ("rqXexS6ZhobKA", "a DES hash of crypt(3), or plain text"),
            ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W", "yescrypt"),
            ("secret", "plain text"),
            ("", "plain text"),
            ("$", "plain text"),
            ("$6", "plain text"),
            ("$x$y", "plain text"),
            ("$2y$05$short", "not a whole bcrypt hash"),
            (&OF_PASSWORD[0].replacen("$05$", "$31$", 1), "a cost of 17 at most"),
            (&OF_PASSWORD[0].replacen("$05$", "$03$", 1), "not a whole bcrypt hash"),
            ("$6$salt$short", "not a whole SHA-crypt hash"),
            (&OF_PASSWORD[3].replacen("$6$", "$6$rounds=999$", 1), "not a whole SHA-crypt hash"),
            (&OF_PASSWORD[3].replacen("$6$", "$6$rounds=9999999$", 1), "5,000,000 rounds at most"),
            (&format!("{}$", OF_PASSWORD[3]), "not a whole SHA-crypt hash"),
            ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", "not a whole Argon2 hash"),
            (&OF_PASSWORD[5].replacen("256", "1048576", 1), "256 MiB"),
            (&OF_PASSWORD[5].replacen("t=2", "t=65", 1), "t=64 at most"),
        ] {
            let error = text.parse::<Hash>().err().expect(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn two_work_at_a_time_and_sixty_four_wait() {
        let gate = Arc::new(Gate::default());
        let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let mut all = JoinSet::new();
        for _ in 0..AT_A_TIME + WAITING_MAX {
            let gate = Arc::clone(&gate);
            let (at_work, most, held) = (at_work.clone(), most.clone(), held.clone());
            all.spawn(async move {
                let work = move || {
                    let now = at_work.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    held.lock().unwrap().recv().unwrap();
                    at_work.fetch_sub(1, Ordering::SeqCst);
                };
                gate.run(work).await
            });
        }
        let all_begun = || at_work.load(Ordering::SeqCst) >= AT_A_TIME;
        while gate.places.available_permits() > 0 || !all_begun() {
            tokio::task::yield_now().await;
        }
        let mut more = Box::pin(gate.run(|| ()));
        let polled = poll_fn(|cx| Poll::Ready(more.as_mut().poll(cx))).await;
        assert_eq!(polled, Poll::Ready(None), "one more than may wait");
        for _ in 0..AT_A_TIME + WAITING_MAX {
            release.send(()).unwrap();
        }
        while let Some(done) = all.join_next().await {
            assert_eq!(done.unwrap(), Some(()));
        }
        assert_eq!(most.load(Ordering::SeqCst), AT_A_TIME);
        assert_eq!(gate.run(|| 1).await, Some(1), "their places are free again");
        assert_eq!(gate.run(|| panic!("as was asked for")).await, None::<()>);
    }

    #[tokio::test]
    async fn who_leaves_makes_no_room_for_more_work() {
        let gate = Gate::default();
        let (release, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let mut work = Box::pin(gate.run(move || {
            begun.send(()).unwrap();
            held.recv().unwrap();
        }));
        // Polled once, so that it begins.
        let polled = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        begins.recv().unwrap();
        drop(work);
        assert_eq!(gate.at_work.available_permits(), AT_A_TIME - 1);
        release.send(()).unwrap();
        while gate.at_work.available_permits() < AT_A_TIME {
            tokio::task::yield_now().await;
        }
    }
}
