//! The service: from the head of a request to its answer.
//!
//! A file asked for again is answered from the open-file cache without a system call. Otherwise
//! the look-up is tried without waiting, on the worker, and only if the kernel's name cache
//! lacks the answer on a thread that may wait; listings are always made there.
//!
//! Source: RFC 9110 §9.3.1, §9.3.2, §15.4.9 (308).

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use rustix::io::Errno;
use tokio::time::{Duration, Instant, sleep};
use underpass::Stability;

use crate::answer::Answer;
use crate::current_root::CurrentRoot;
use crate::listing::Listing;
use crate::progress::Client;
use crate::refusal::{Refusal, admit, chain};
use crate::root::{OpenError, Root, Wait};
use crate::target::Target;
use crate::tree::{FRESH_FOR, KeptFiles, Resource, Tree, is_for_want_of_room};

/// How long a request waits for a descriptor before it is a 503.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often such a request tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers requests for what is beneath one directory. Each worker has one.
#[derive(Debug)]
pub struct Service {
    tree: Arc<Tree>,
}

impl Service {
    /// A service for `root` that keeps up to `open_files_max` files open and mapped.
    #[must_use]
    pub fn new(root: Root, open_files_max: NonZeroUsize, stability: Stability) -> Self {
        let files = KeptFiles::of_workers(1, open_files_max).remove(0);
        let root = Arc::new(CurrentRoot::new(root, FRESH_FOR));
        Self::of(Tree::new(root, files, stability))
    }

    pub(crate) fn of(tree: Tree) -> Self {
        Self { tree: Arc::new(tree) }
    }

    /// Closes files that are only kept in case that they are asked for again.
    pub(crate) fn give_way(&self) {
        self.tree.files.give_way();
    }

    /// Answers a request that needs no look-up: its file is open, or its method is refused.
    #[must_use]
    pub fn respond_at_once(&self, request: &Parts) -> Option<Answer> {
        if let Err(refusal) = admit(request) {
            return Some(Answer::error(refusal.status()));
        }
        let target = Target::parse(request.uri.path()).ok()?;
        let kept = self.tree.kept(&target)?;
        let answer = Answer::of(&request.method, &request.headers, &kept);
        Some(if request.method == Method::HEAD { answer.without_content() } else { answer })
    }

    /// Answers one request; what goes wrong is an answer too. Must run within a tokio runtime.
    ///
    /// What goes wrong here, and not with the request, is warned of; `client` is named in it.
    /// Dropping the future loses nothing but a look-up.
    pub async fn respond(&self, request: &Parts, client: Option<IpAddr>) -> Answer {
        let answer = self.find_with_patience(request).await.unwrap_or_else(|refusal| {
            let status = refusal.status();
            if refusal.is_of_this_end() {
                let (path, client) = (request.uri.path(), Client(client));
                tracing::warn!("{path} to {client}: {status}: {}", chain(&refusal));
            }
            Answer::error(status)
        });
        if request.method == Method::HEAD { answer.without_content() } else { answer }
    }

    /// Waits a while for what other responses will give back, where kept files have given way and
    /// that was not enough.
    async fn find_with_patience(&self, request: &Parts) -> Result<Answer, Refusal> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.find(request).await {
                Err(refusal) if is_for_want_of_room(&refusal) && Instant::now() < end => {
                    self.tree.files.give_way();
                    sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn find(&self, request: &Parts) -> Result<Answer, Refusal> {
        admit(request)?;
        let target = Target::parse(request.uri.path())?;
        if let Some(kept) = self.tree.kept(&target) {
            return Ok(Answer::of(&request.method, &request.headers, &kept));
        }
        let resource = match self.tree.look_up(target.as_bytes(), Wait::Never) {
            Err(Refusal::Open(OpenError::WouldWait)) => {
                let path = target.as_bytes().to_vec();
                self.wait(move |tree| tree.look_up(&path, Wait::Allowed)).await?
            }
            found => found?,
        };
        match resource {
            Resource::File(file) => Ok(Answer::of(&request.method, &request.headers, &file)),
            Resource::Unslashed => Ok(redirect_to_slash(&target, &request.uri)),
            Resource::Directory(directory) => {
                let path = target.as_bytes().to_vec();
                let list = move |tree: &Tree| {
                    let root = tree.root.get(Wait::Allowed)?;
                    Ok(Listing::read(&root, &path, &directory)?.into_answer(&path))
                };
                Ok(self.wait(list).await?)
            }
        }
    }

    /// Runs `work` on a thread that may wait.
    async fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let tree = Arc::clone(&self.tree);
        let done = tokio::task::spawn_blocking(move || work(&tree)).await;
        // It is cancelled if the runtime stops meanwhile.
        done.unwrap_or(Err(OpenError::Exhausted(Errno::CANCELED).into()))
    }
}

/// The same target with a slash at its end, so that relative references of the directory's page
/// resolve; the query is kept.
fn redirect_to_slash(target: &Target<'_>, uri: &Uri) -> Answer {
    let mut location = target.to_reference();
    location.push('/');
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    HeaderValue::try_from(location)
        .map_or_else(|_| Answer::error(StatusCode::BAD_REQUEST), Answer::redirect)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{OpenOptionsExt, symlink};
    use std::path::Path;

    use http::Request;
    use http::header::HOST;
    use rustix::fs::OFlags;

    use super::*;
    use crate::answer::Content;

    fn service(tree: &tempfile::TempDir) -> Service {
        let root = Root::open(&tree.path().join("served")).unwrap();
        Service::new(root, NonZeroUsize::new(8).unwrap(), Stability::Guard)
    }

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let served = tree.path().join("served");
        for directory in ["plain", "site", "odd/index.html"] {
            fs::create_dir_all(served.join(directory)).unwrap();
        }
        fs::write(tree.path().join("secret"), "secret").unwrap();
        fs::write(served.join("a.txt"), "content of a").unwrap();
        fs::write(served.join("plain/b.txt"), "b").unwrap();
        fs::write(served.join("site/index.html"), "<p>index</p>").unwrap();
        symlink("../secret", served.join("out")).unwrap();
        tree
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    async fn ask(service: &Service, method: Method, target: &str) -> Answer {
        let request =
            Request::builder().method(method).uri(target).header(HOST, "x").body(()).unwrap();
        service.respond(&request.into_parts().0, None).await
    }

    /// The content as a client would read it.
    fn text(answer: &Answer) -> String {
        let bytes = match &answer.content {
            Content::Empty => Vec::new(),
            Content::UntilEnd(_) => panic!("a file that has a size"),
            Content::Memory(bytes) => bytes.to_vec(),
            Content::File(file, range) => {
                let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
                let start = usize::try_from(range.start).unwrap();
                file.file().unwrap().read_at(start, &mut bytes).unwrap();
                bytes
            }
        };
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_target_has_its_status() {
        let tree = tree();
        let service = service(&tree);
        let long = format!("/{}", "x".repeat(300));
        for (target, status) in [
            ("/a.txt", 200),
            ("/plain/../a.txt", 200),
            ("/../../a.txt", 200),
            ("http://any.example/a.txt?query", 200),
            ("/", 200),
            ("/plain/", 200),
            ("/site/", 200),
            ("/odd/", 200),
            ("/plain", 308),
            ("/none", 404),
            ("/none/", 404),
            ("/a.txt/", 404),
            ("/../secret", 404),
            ("/out", 404),
            ("/..%2fsecret", 404),
            (&long, 404),
            ("/%00", 400),
            ("/%zz", 400),
            ("*", 400),
        ] {
            run(async {
                let answer = ask(&service, Method::GET, target).await;
                assert_eq!(answer.status, status, "{target:.30}");
                let length = &answer.headers["content-length"];
                assert_eq!(*length, answer.content.len().unwrap().to_string(), "{target:.30}");
                let head = ask(&service, Method::HEAD, target).await;
                assert_eq!((head.status, &head.headers), (answer.status, &answer.headers));
                assert!(head.content.is_empty(), "{target:.30}");
            });
        }
    }

    #[test]
    fn files_indexes_and_listings_have_their_content() {
        let tree = tree();
        let service = service(&tree);
        run(async {
            assert_eq!(text(&ask(&service, Method::GET, "/a.txt").await), "content of a");
            let index = ask(&service, Method::GET, "/site/").await;
            assert_eq!(text(&index), "<p>index</p>");
            assert_eq!(index.headers["content-type"], "text/html; charset=utf-8");
            let listing = text(&ask(&service, Method::GET, "/plain/").await);
            assert!(listing.contains("href=\"b.txt\""), "{listing}");
            let odd = text(&ask(&service, Method::GET, "/odd/").await);
            assert!(odd.contains("href=\"index.html/\""), "{odd}");
        });
    }

    #[test]
    fn other_methods_are_refused_even_where_nothing_is() {
        let tree = tree();
        let service = service(&tree);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            for target in ["/a.txt", "/none", "*"] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let answer = run(ask(&service, method, target));
                assert_eq!(
                    (answer.status.as_u16(), &answer.headers["allow"]),
                    (405, &HeaderValue::from_static("GET, HEAD"))
                );
            }
        }
    }

    #[test]
    fn a_directory_is_redirected_to_its_slash_and_nowhere_else() {
        let tree = tree();
        fs::create_dir_all(tree.path().join("served/\\evil.example/%2f")).unwrap();
        let service = service(&tree);
        for (target, location) in [
            ("/plain", "/plain/"),
            ("/plain?a=b&c=//d", "/plain/?a=b&c=//d"),
            ("//plain", "/plain/"),
            ("/x/..//plain", "/plain/"),
            ("http://evil.example/plain", "/plain/"),
            ("/%5Cevil.example", "/%5Cevil.example/"),
            ("/%5Cevil.example/%252f?", "/%5Cevil.example/%252f/?"),
        ] {
            let answer = run(ask(&service, Method::GET, target));
            assert_eq!(answer.status, 308, "{target}");
            assert_eq!(answer.headers["location"], location, "{target}");
        }
    }

    #[test]
    fn a_settled_file_is_kept_and_a_fresh_one_is_not() {
        let tree = tree();
        let service = service(&tree);
        run(async {
            let first = ask(&service, Method::GET, "/a.txt").await;
            assert!(first.headers["etag"].as_bytes().starts_with(b"W/"), "written just now");
            assert_eq!(service.tree.files.own().len(), 0);
        });
        // In the root's place a file that was last changed before this second.
        let settled =
            Service::new(Root::open(Path::new("/")).unwrap(), NonZeroUsize::MIN, Stability::None);
        run(async {
            let one = ask(&settled, Method::GET, "/etc/passwd").await;
            let two = ask(&settled, Method::GET, "/etc/passwd").await;
            let (Content::File(one, _), Content::File(two, _)) = (one.content, two.content) else {
                panic!("two files");
            };
            assert!(Arc::ptr_eq(&one, &two));
            assert_eq!(settled.tree.files.own().len(), 1);
        });
    }

    #[test]
    fn a_replaced_file_gets_another_tag_and_its_own_bytes() {
        let tree = tree();
        let service = service(&tree);
        let (old, new) = (tree.path().join("served/a.txt"), tree.path().join("new"));
        run(async {
            let before = ask(&service, Method::GET, "/a.txt").await;
            fs::write(&new, "replacement!").unwrap();
            fs::rename(&new, &old).unwrap();
            let after = ask(&service, Method::GET, "/a.txt").await;
            assert_eq!(
                (text(&before), text(&after)),
                ("content of a".into(), "replacement!".into())
            );
            assert_ne!(before.headers["etag"], after.headers["etag"]);
        });
    }

    #[test]
    fn a_lease_lasts_for_one_response_and_waits_for_writers() {
        let tree = tree();
        let root = Root::open(&tree.path().join("served")).unwrap();
        let service = Service::new(root, NonZeroUsize::MIN, Stability::Lease);
        let path = tree.path().join("served/a.txt");
        let write = || {
            fs::OpenOptions::new()
                .write(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(&path)
        };
        run(async {
            let answer = ask(&service, Method::GET, "/a.txt").await;
            let refused = write().unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock, "the response holds it");
            drop(answer);
            let writer = write().unwrap();
            let answer = ask(&service, Method::GET, "/a.txt").await;
            assert_eq!(
                (answer.status.as_u16(), &answer.headers["retry-after"]),
                (503, &HeaderValue::from_static("1"))
            );
            drop(writer);
            assert_eq!(ask(&service, Method::GET, "/a.txt").await.status, 200);
        });
    }
}
