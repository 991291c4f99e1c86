use std::fs;
use std::path::Path;

use http::Request;

use super::*;
use crate::root::Root;
use crate::site_options::SiteOptions;
use crate::tree::FRESH_FOR;
use crate::upload::Upload;

const BYTES_MAX: u64 = 1000;

/// A directory in which uploads begin.
struct Begun {
    root: Arc<CurrentRoot>,
    dir: tempfile::TempDir,
    partials: Partials,
}

impl Begun {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Arc::new(CurrentRoot::new(Root::open(dir.path()).unwrap(), FRESH_FOR));
        Self { root, dir, partials: Partials::default() }
    }

    /// One more; it is given up at once.
    async fn add(&self, name: &str, len: Option<u64>) -> Result<Token, u16> {
        let (token, _mine, place) = self.begin(name, len).await?;
        drop(place);
        Ok(token)
    }

    async fn begin(&self, name: &str, len: Option<u64>) -> Result<(Token, Mine, Place), u16> {
        let upload = Upload::new(Vec::new(), BYTES_MAX, false);
        let head = Request::put(format!("/{name}")).body(()).unwrap().into_parts().0;
        let wanted = Wanted::of(&head, &upload, &SiteOptions::new(self.dir.path().into()));
        let wanted = Arc::new(Wanted { len, ..wanted.unwrap() });
        let root = self.root.get(Wait::Allowed).unwrap();
        let place = Place::make_kept(&root, &upload, &wanted).unwrap();
        let new = self.partials.add(&self.root, &wanted, place, BYTES_MAX).await;
        let (token, _, mine, place) = new.map_err(|refusal| refusal.status().as_u16())?;
        Ok((token, mine, place))
    }

    fn has(&self, token: Token, name: &str) -> bool {
        self.partials.find(token, name.as_bytes()).is_ok()
    }

    /// How many files there are, once others are removed, which another thread does.
    async fn has_files(&self, count: usize) {
        while files(self.dir.path()) != count {
            tokio::task::yield_now().await;
        }
    }
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[tokio::test(start_paused = true)]
async fn the_one_that_was_idle_for_longest_gives_way() {
    let begun = Begun::new();
    let first = begun.add("first", Some(BYTES_MAX)).await.unwrap();
    let second = begun.add("second", None).await.unwrap();
    for number in 2..LARGEST_MAX {
        tokio::time::advance(Duration::from_secs(1)).await;
        begun.add(&number.to_string(), Some(BYTES_MAX)).await.unwrap();
    }
    begun.partials.find(first, b"first").unwrap().note(|_| {});
    assert!(begun.has(second, "second"), "all of them have room");
    begun.add("more", Some(1)).await.unwrap();
    assert!(begun.has(first, "first") && !begun.has(second, "second"));
    begun.has_files(16).await;
    // Small ones are counted.
    tokio::time::advance(Duration::from_secs(1)).await;
    for number in 0..COUNT_MAX {
        begun.add(&format!("small-{number}"), Some(1)).await.unwrap();
    }
    assert!(!begun.has(first, "first"));
    begun.has_files(COUNT_MAX).await;
}

#[tokio::test]
async fn one_that_is_written_does_not_give_way() {
    let begun = Begun::new();
    let mut all = Vec::new();
    for number in 0..LARGEST_MAX {
        all.push(begun.begin(&number.to_string(), Some(BYTES_MAX)).await.unwrap());
    }
    assert_eq!(begun.add("more", Some(1)).await, Err(503));
    begun.has_files(16).await;
    let (token, mine, place) = all.remove(0);
    drop((mine, place));
    begun.add("more", Some(1)).await.unwrap();
    assert!(!begun.has(token, "0"));
}

#[tokio::test(start_paused = true)]
async fn what_is_a_day_old_goes() {
    let begun = Begun::new();
    let old = begun.add("old", None).await.unwrap();
    let complete = begun.add("complete", None).await.unwrap();
    begun.partials.find(complete, b"complete").unwrap().note(|state| state.is_complete = true);
    tokio::time::advance(AGE_MAX / 2).await;
    assert!(begun.has(old, "old") && !begun.has(complete, "complete"));
    let new = begun.add("new", None).await.unwrap();
    tokio::time::advance(AGE_MAX / 2 + PAUSE).await;
    assert!(!begun.has(old, "old") && begun.has(new, "new"));
    begun.partials.forget_old(&begun.root).await;
    begun.has_files(2).await;
    assert_eq!(begun.partials.lock().len(), 1, "that which is complete is forgotten too");
}

#[tokio::test]
async fn a_token_is_for_one_path_and_stands_alone_in_a_query() {
    let begun = Begun::new();
    let token = begun.add("a", None).await.unwrap();
    assert!(begun.has(token, "a") && !begun.has(token, "b"));
    let text = token.to_string();
    assert_eq!(Token::of(Some(&text)), Some(token));
    for query in ["", "upload=", &text[7..], &text[..38], &format!("{text}0"), &format!("a&{text}")]
    {
        assert_eq!(Token::of(Some(query)), None, "{query}");
    }
    assert_eq!(Token::of(Some("upload=+0000000000000000000000000000000")), None);
    assert_eq!(format!("{token:?}"), "Token");
}

#[tokio::test]
async fn the_newest_request_takes_over() {
    let begun = Begun::new();
    let (token, mut mine, place) = begun.begin("a", None).await.unwrap();
    let partial = begun.partials.find(token, b"a").unwrap();
    let first = async {
        let work = mine.unless_superseded(std::future::pending::<Result<(), _>>()).await;
        assert!(matches!(work, Err(Refusal::Superseded)));
        drop((mine, place));
    };
    let second = async {
        let _mine = partial.take_over().await.unwrap();
        // The file is free a little later: another thread closes it.
        partial.open(&begun.root).await.unwrap();
    };
    tokio::join!(first, second);
}
