//! The sites of a server: checked whole, then published to all workers.
//!
//! A worker looks for newer ones with each request, which costs one load. A response that has begun
//! keeps what it began with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use underpass::Stability;

use crate::access::Access;
use crate::current_root::CurrentRoot;
use crate::hosts::{HostPattern, HostTable};
use crate::leases;
use crate::links::Symlinks;
use crate::root::{Found, Root, Wait};
use crate::server::BindError;
use crate::service::Service;
use crate::site_options::SiteOptions;
use crate::tree::{FRESH_FOR, KeptFiles, Tree};

/// What to serve to whom.
#[derive(Debug)]
pub struct Sites(pub Vec<(HostPattern, SiteOptions)>);

impl From<SiteOptions> for Sites {
    /// One site for all hosts.
    fn from(site: SiteOptions) -> Self {
        Self(vec![(HostPattern::Others, site)])
    }
}

/// Sites that have been checked, as all workers serve them.
#[derive(Debug)]
pub(crate) struct Checked {
    hosts: HostTable,
    sites: Vec<One>,
    /// The number of the next site, of those to come.
    next: u32,
}

#[derive(Debug)]
struct One {
    /// Under which the files of this site are kept, and of no other that the server had.
    number: u32,
    root: Arc<CurrentRoot>,
    options: Arc<SiteOptions>,
}

impl Checked {
    /// Sites that a server begins with.
    pub(crate) fn new(sites: Sites) -> Result<Self, BindError> {
        Self::numbered(sites, 0)
    }

    fn numbered(sites: Sites, mut next: u32) -> Result<Self, BindError> {
        let (mut hosts, mut checked) = (HostTable::default(), Vec::new());
        for (pattern, options) in sites.0 {
            if !hosts.add(&pattern, checked.len()) {
                return Err(BindError::HostTwice(pattern));
            }
            checked.push(One::new(options, next)?);
            next = next.wrapping_add(1).max(1);
        }
        Ok(Self { hosts, sites: checked, next })
    }

    /// Who may read those that are not for everyone.
    pub(crate) fn access(&self) -> impl Iterator<Item = &Access> {
        self.options().filter_map(|site| site.stations.access.as_deref())
    }

    /// Those into which files are put.
    pub(crate) fn writable(&self) -> impl Iterator<Item = &SiteOptions> {
        self.options().filter(|site| site.stations.upload.is_some())
    }

    /// Removes what has come of files of which nothing more came for a day.
    pub(crate) async fn forget_old_uploads(&self) {
        for site in &self.sites {
            if let Some(upload) = &site.options.stations.upload {
                upload.forget_old(&site.root).await;
            }
        }
    }

    /// Has what is being put into a directory continue under another site that is of it.
    fn hand_on_uploads(&self, site: &mut SiteOptions) {
        let same = self.writable().find(|it| it.root == site.root);
        let before = same.and_then(|same| same.stations.upload.as_deref());
        let new = site.stations.upload.as_mut().and_then(Arc::get_mut);
        if let (Some(before), Some(new)) = (before, new) {
            new.continue_from(before);
        }
    }

    /// The roots of those.
    pub(crate) fn written_to(&self) -> Vec<Arc<CurrentRoot>> {
        let sites = self.sites.iter().filter(|site| site.options.stations.upload.is_some());
        sites.map(|site| Arc::clone(&site.root)).collect()
    }

    pub(crate) fn options(&self) -> impl Iterator<Item = &SiteOptions> {
        self.sites.iter().map(|site| &*site.options)
    }
}

impl One {
    fn new(options: SiteOptions, number: u32) -> Result<Self, BindError> {
        let root = Root::open(&options.root)?.following(options.lookup.symlinks);
        warn_of_absent(&root, &options);
        if options.stability == Stability::Lease {
            leases::can_be_held(&options.root)?;
        }
        let root = Arc::new(CurrentRoot::new(root, FRESH_FOR));
        Ok(Self { number, root, options: Arc::new(options) })
    }
}

/// Tells of pages that are not there, which may come later.
fn warn_of_absent(root: &Root, site: &SiteOptions) {
    for path in site.lookup.fallback.iter().chain(site.error_pages.paths()) {
        let found = root.open_beneath(path.as_bytes(), Wait::Allowed);
        if !matches!(found, Ok(Found::File(..))) {
            let root = root.path().display();
            tracing::warn!("there is no file {path} in {root}, which is to stand in for others");
        }
    }
}

/// Replaces the sites of a server while it runs.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub(crate) published: watch::Sender<Arc<Checked>>,
    pub(crate) files: Option<KeptFiles>,
    /// What the sandbox lets the server read; everything without one.
    pub(crate) readable: Option<Vec<PathBuf>>,
    /// Where it lets the server write, if there is one.
    pub(crate) writable: Vec<PathBuf>,
}

impl Publisher {
    /// Checks the sites whole, and then serves them to the requests to come. What does not pass
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Server::bind`](crate::Server::bind) about sites.
    pub fn publish(&self, mut sites: Sites) -> Result<(), BindError> {
        let before = Arc::clone(&self.published.borrow());
        sites.0.iter_mut().for_each(|(_, site)| before.hand_on_uploads(site));
        let next = before.next;
        let checked = Checked::numbered(sites, next)?;
        if let Some(site) = checked.options().find(|site| !self.may_read(site)) {
            return Err(BindError::Sandbox(site.root.clone()));
        }
        if let Some(site) = checked.options().find(|site| !self.may_write(site)) {
            return Err(BindError::ReadOnly(site.root.clone()));
        }
        self.published.send_replace(Arc::new(checked));
        // Nothing will ask for what the sites before have kept, up to 2^16 files a worker.
        let give_way = |_: &u32| self.files.as_ref().is_some_and(KeptFiles::give_way);
        (0..16).take_while(give_way).for_each(drop);
        Ok(())
    }

    /// Whether the sandbox lets the files of a site be read. The kernel would say so only when they
    /// are.
    fn may_read(&self, site: &SiteOptions) -> bool {
        let Some(readable) = &self.readable else { return true };
        let everything = Path::new("/").to_owned();
        let wanted = match site.lookup.symlinks {
            Symlinks::All => everything,
            Symlinks::Inside | Symlinks::None => site.root.canonicalize().unwrap_or(everything),
        };
        readable.iter().any(|path| wanted.starts_with(path))
    }

    /// The same of writing, where files are put.
    fn may_write(&self, site: &SiteOptions) -> bool {
        let is_in = |root: PathBuf| self.writable.iter().any(|path| root.starts_with(path));
        let is_asked_for = self.readable.is_some() && site.stations.upload.is_some();
        !is_asked_for || site.root.canonicalize().is_ok_and(is_in)
    }
}

/// The sites as one worker serves them.
#[derive(Debug)]
pub(crate) struct WorkerSites {
    /// `None` where they never change.
    published: Option<(watch::Receiver<Arc<Checked>>, KeptFiles)>,
    hosts: HostTable,
    services: Vec<Service>,
}

impl From<Service> for WorkerSites {
    fn from(service: Service) -> Self {
        let mut hosts = HostTable::default();
        hosts.add(&HostPattern::Others, 0);
        Self { published: None, hosts, services: vec![service] }
    }
}

impl WorkerSites {
    pub(crate) fn new(published: watch::Receiver<Arc<Checked>>, files: KeptFiles) -> Self {
        let (hosts, services) = Default::default();
        let mut sites = Self { published: Some((published, files)), hosts, services };
        sites.make();
        sites
    }

    /// The service of a host, which is asked for where there is a choice.
    pub(crate) fn of<'h>(&mut self, host: impl FnOnce() -> Option<&'h [u8]>) -> Option<&Service> {
        let is_new = |(published, _): &(watch::Receiver<_>, _)| published.has_changed();
        if self.published.as_ref().is_some_and(|it| is_new(it).unwrap_or(false)) {
            self.make();
        }
        self.services.get(self.hosts.find(host)?)
    }

    /// Closes files that are only kept in case that they are asked for again.
    pub(crate) fn give_way(&self) {
        // The sites share what is kept.
        self.services.first().into_iter().for_each(Service::give_way);
    }

    fn make(&mut self) {
        let Some((published, files)) = &mut self.published else { return };
        let checked = Arc::clone(&published.borrow_and_update());
        let service = |site: &One| {
            let files = files.of_site(site.number);
            Service::of(Tree::new(Arc::clone(&site.root), files, Arc::clone(&site.options)))
        };
        self.services = checked.sites.iter().map(service).collect();
        self.hosts = checked.hosts.clone();
    }
}
