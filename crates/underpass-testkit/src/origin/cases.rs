//! What may happen to an origin, to what keeps its objects, and to those who read them.
//!
//! The readers differ: clients of a program ask by fields, readers of a store by a range of
//! offsets. `Ask` is how one of them asks.

use proptest::prelude::*;

use super::{Fault, Framing, Object, Stop};

/// Lengths that an origin says and that no object has.
pub const WRONG_LENS: [u64; 2] = [9 << 20, 300];

/// Objects, how fast they come, and what happens to them.
#[derive(Debug, Clone)]
pub struct Case<Ask> {
    /// As they are at first.
    pub objects: Vec<Shape>,
    /// In bytes per second.
    pub rate: Option<u64>,
    /// One after another.
    pub steps: Vec<Step<Ask>>,
}

/// How an object looks.
#[derive(Debug, Clone)]
pub struct Shape {
    len: u64,
    cache_control: &'static str,
    tag: Tag,
    has_ranges: bool,
    is_chunked: bool,
}

#[derive(Debug, Clone, Copy)]
enum Tag {
    Strong,
    Weak,
    None,
}

/// What happens next.
#[derive(Debug, Clone)]
pub enum Step<Ask> {
    /// One reader more, that perhaps leaves after this many bytes.
    Read {
        /// Of which object.
        key: usize,
        /// Which bytes.
        ask: Ask,
        /// After this many bytes of content.
        leaves: Option<usize>,
    },
    /// An object is another, of this one's length and else of the same look.
    Replace(usize, Shape),
    /// This is wrong with the request after that many others.
    Wrong(usize, Fault),
    /// What is kept of an object goes.
    Purge(usize),
    /// Nothing, for some milliseconds.
    Pause(u64),
    /// All readers have what they get.
    Settle,
    /// What keeps the objects ends and begins again.
    Reopen,
    /// The origin does.
    Restart,
}

impl Shape {
    /// An object of this look.
    #[must_use]
    pub fn object(&self) -> Object {
        let object = Object::new(self.len).cache_control(self.cache_control);
        let object = match self.tag {
            Tag::Strong => object,
            Tag::Weak => object.etag(Some("W/\"same\"")),
            Tag::None => object.etag(None),
        };
        let object = if self.has_ranges { object } else { object.without_ranges() };
        if self.is_chunked { object.framed(Framing::Chunked) } else { object }
    }

    /// One of this length and of the other's look.
    #[must_use]
    pub fn object_like(&self, other: &Self) -> Object {
        Self { len: self.len, ..other.clone() }.object()
    }
}

/// Every case there is with readers who ask like this; an object's length is not said with this
/// probability.
pub fn any<Ask: Clone + std::fmt::Debug + 'static>(
    ask: impl Strategy<Value = Ask> + Clone + 'static,
    whole: &Ask,
    chunked: f64,
) -> impl Strategy<Value = Case<Ask>> {
    let rates = prop_oneof![Just(None), (4_u64..32).prop_map(|mib| Some(mib << 20))];
    let objects = prop::collection::vec(shape(chunked), 1..=3);
    let one = step(ask, chunked).prop_map(|step| vec![step]);
    let steps = prop_oneof![20 => one, 1 => betrayal(whole.clone(), chunked)];
    let steps = prop::collection::vec(steps, 4..30).prop_map(|steps| steps.concat());
    (objects, rates, steps).prop_map(|(objects, rate, mut steps)| {
        for step in &mut steps {
            if let Step::Read { key, .. } | Step::Replace(key, _) | Step::Purge(key) = step {
                *key %= objects.len();
            }
        }
        Case { objects, rate, steps }
    })
}

fn shape(chunked: f64) -> impl Strategy<Value = Shape> {
    let lens = prop_oneof![
        1_u64..100,
        Just(4096),
        Just(65_536),
        Just(100_003),
        Just(1_000_003),
        (0_u64..3 << 20),
    ];
    let cache_controls = prop::sample::select(vec!["max-age=3600", "max-age=0", "no-store", ""]);
    let tags = prop_oneof![4 => Just(Tag::Strong), 1 => Just(Tag::Weak), 1 => Just(Tag::None)];
    let has_ranges = prop::bool::weighted(0.85);
    let is_chunked = prop::bool::weighted(chunked);
    (lens, cache_controls, tags, has_ranges, is_chunked).prop_map(
        |(len, cache_control, tag, has_ranges, is_chunked)| Shape {
            len,
            cache_control,
            tag,
            has_ranges,
            is_chunked,
        },
    )
}

fn step<Ask: Clone + std::fmt::Debug + 'static>(
    ask: impl Strategy<Value = Ask> + 'static,
    chunked: f64,
) -> impl Strategy<Value = Step<Ask>> {
    let key = 0_usize..3;
    let leaves = prop::option::weighted(0.15, 0_usize..200_000);
    let read = (key.clone(), ask, leaves);
    prop_oneof![
        12 => read.prop_map(|(key, ask, leaves)| Step::Read { key, ask, leaves }),
        3 => (key.clone(), shape(chunked)).prop_map(|(key, shape)| Step::Replace(key, shape)),
        4 => (0_usize..3, fault()).prop_map(|(ahead, fault)| Step::Wrong(ahead, fault)),
        1 => key.prop_map(Step::Purge),
        4 => (0_u64..40).prop_map(Step::Pause),
        3 => Just(Step::Settle),
        1 => Just(Step::Reopen),
        1 => Just(Step::Restart),
    ]
}

/// An answer that ends early, and one to the request for the rest that is of another generation.
fn betrayal<Ask: Clone + std::fmt::Debug>(
    whole: Ask,
    chunked: f64,
) -> impl Strategy<Value = Vec<Step<Ask>>> {
    let others = prop::sample::select(vec![Fault::Another, Fault::IgnoreConditions]);
    (0_usize..3, 1_u64..60_000, shape(chunked), others).prop_map(move |(key, at, shape, other)| {
        let read = || Step::Read { key, ask: whole.clone(), leaves: None };
        vec![
            Step::Settle,
            Step::Purge(key),
            Step::Wrong(0, Fault::At(at, Stop::Cut)),
            Step::Wrong(1, other),
            read(),
            Step::Pause(40),
            Step::Replace(key, shape),
            read(),
            Step::Settle,
        ]
    })
}

/// What leaves a mark that can be seen: of content that ends with the connection, or that is
/// shorter than it is, not even an honest cache knows.
fn fault() -> impl Strategy<Value = Fault> {
    let place = prop_oneof![Just(0_u64), 0_u64..200_000, 0_u64..3 << 20];
    let stops = prop::sample::select(vec![Stop::Reset, Stop::Cut, Stop::Stall, Stop::Replace]);
    let statuses = prop::sample::select(vec![404_u16, 412, 500, 503]);
    prop_oneof![
        6 => (place, stops).prop_map(|(at, stop)| Fault::At(at, stop)),
        1 => Just(Fault::Reset),
        1 => Just(Fault::ResetInHead),
        1 => Just(Fault::Stall),
        1 => Just(Fault::Length(WRONG_LENS[0])),
        1 => Just(Fault::Framed(Framing::Chunked)),
        1 => Just(Fault::IgnoreRange),
        1 => Just(Fault::IgnoreConditions),
        1 => Just(Fault::Another),
        1 => Just(Fault::ContentRange(format!("bytes 1-100/{}", WRONG_LENS[1]))),
        1 => statuses.prop_map(Fault::Status),
    ]
}
