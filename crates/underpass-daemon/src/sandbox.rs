//! Confinement: once a server runs, it can open its own files and no others, and makes no other
//! system calls than a server does.
//!
//! Files and sockets that are open stay so. The restriction holds for the thread that enters it
//! and for those that it makes, so it comes before the first worker.
//!
//! Source: landlock(7); Linux, Documentation/userspace-api/landlock.rst.

mod calls;

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, path_beneath_rules,
};

/// The first to know all that is restricted here; older kernels restrict less.
const VERSION: ABI = ABI::V5;

/// What getaddrinfo(3) reads; files of the same directories are read with them.
const LOOK_UP_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];

/// What a server can still open.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    rules: Vec<(PathBuf, BitFlags<AccessFs>)>,
    connects: bool,
}

impl Sandbox {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also a file, or the files and directories beneath a directory, to be read.
    #[must_use]
    pub fn read(self, path: impl Into<PathBuf>) -> Self {
        self.rule(path, AccessFs::ReadFile | AccessFs::ReadDir)
    }

    /// Also a file to be read that may be replaced: all files of its directory, and of the one
    /// where it is if the path is a link.
    #[must_use]
    pub fn read_replaced(self, path: &Path) -> Self {
        directories(path).fold(self, Self::read)
    }

    /// Also a file to be written.
    #[must_use]
    pub fn write(self, path: impl Into<PathBuf>) -> Self {
        self.rule(path, AccessFs::WriteFile.into())
    }

    /// Also everything beneath a directory, to be read, written, made and removed.
    #[must_use]
    pub fn manage(self, path: impl Into<PathBuf>) -> Self {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = AccessFs::WriteFile | AccessFs::Truncate;
        let make = AccessFs::MakeReg | AccessFs::MakeDir;
        let remove = AccessFs::RemoveFile | AccessFs::RemoveDir | AccessFs::Refer;
        self.rule(path, read | write | make | remove)
    }

    /// Also TCP addresses to connect to, whichever they are.
    #[must_use]
    pub fn connect(self) -> Self {
        Self { connects: true, ..self }
    }

    /// Also the names of hosts to be looked up.
    #[must_use]
    pub fn look_up(self) -> Self {
        LOOK_UP_FILES.iter().map(Path::new).fold(self, Self::read_replaced)
    }

    /// Also a log, which is made again after it was renamed. A path that is a link by now may
    /// be followed; one that becomes a link later is not.
    pub(crate) fn log(self, path: &Path) -> Self {
        let write = AccessFs::WriteFile | AccessFs::MakeReg;
        directories(path).fold(self, |sandbox, directory| sandbox.rule(directory, write))
    }

    /// Also a path that is removed at the end.
    pub(crate) fn remove(self, path: &Path) -> Self {
        self.rule(directory(path), AccessFs::RemoveFile.into())
    }

    fn rule(mut self, path: impl Into<PathBuf>, access: BitFlags<AccessFs>) -> Self {
        self.rules.push((path.into(), access));
        self
    }

    /// Restricts this thread and those that it makes. A kernel that cannot is reported and
    /// changes nothing else.
    pub(crate) fn enter(self) {
        match self.restrict() {
            Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {}
            Ok(RulesetStatus::NotEnforced) => {
                tracing::warn!("this kernel has no Landlock: the server is not confined");
            }
            Err(error) => tracing::warn!("the server is not confined: {error}"),
        }
        if let Err(error) = calls::restrict() {
            tracing::warn!("the server's system calls are not restricted: {error}");
        }
    }

    fn restrict(self) -> Result<RulesetStatus, RulesetError> {
        let all = AccessFs::from_all(VERSION);
        // All that is listened to is bound by now.
        let net =
            if self.connects { AccessNet::BindTcp.into() } else { AccessNet::from_all(VERSION) };
        let ruleset = Ruleset::default().handle_access(all)?.handle_access(net)?;
        let mut ruleset = ruleset.create()?;
        for (path, access) in self.rules {
            // What is not there cannot be opened, either.
            ruleset = ruleset.add_rules(path_beneath_rules([path], access))?;
        }
        Ok(ruleset.restrict_self()?.ruleset)
    }
}

fn directory(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| ".".into(), Into::into)
}

/// The directory of the path itself, and the one of the file that it leads to.
fn directories(path: &Path) -> impl Iterator<Item = PathBuf> {
    let leads_to = path.canonicalize().ok().as_deref().map(directory);
    [Some(directory(path)), leads_to].into_iter().flatten()
}
