//! What happens in a case.

use proptest::prelude::*;
use underpass_testkit::origin::{Fault, Framing, Object, Origin, Stop};

/// A length that an origin says and does not have.
pub(super) const TOO_LONG: u64 = 9 << 20;

/// Objects, how fast they come, and what happens to them.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) objects: Vec<Shape>,
    pub(super) rate: Option<u64>,
    pub(super) steps: Vec<Step>,
}

/// How an object looks.
#[derive(Debug, Clone)]
pub(super) struct Shape {
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

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A client asks, and perhaps leaves after this many bytes of content.
    Get {
        key: usize,
        range: Asked,
        leaves: Option<usize>,
    },
    /// By one of the other's length, and else of the same look.
    Replace(usize, Shape),
    /// This is wrong with the request after that many others.
    Wrong(usize, Fault),
    Purge(usize),
    Pause(u64),
    /// All clients have their answers.
    Settle,
    /// Of the server.
    Kill,
    /// Of the origin.
    Restart,
}

/// Which bytes a client asks for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Whole,
    /// The value of a Range field.
    Range(String),
    /// The same if the object is still what it is now.
    IfRange(String),
}

impl Shape {
    pub(super) fn object(&self) -> Object {
        let object = Object::new(self.len).cache_control(self.cache_control);
        let object = match self.tag {
            Tag::Strong => object,
            Tag::Weak => object.etag(Some("W/\"same\"")),
            Tag::None => object.etag(None),
        };
        let object = if self.has_ranges { object } else { object.without_ranges() };
        if self.is_chunked { object.framed(Framing::Chunked) } else { object }
    }

    pub(super) fn object_like(&self, other: &Self) -> Object {
        Self { len: self.len, ..other.clone() }.object()
    }
}

impl Asked {
    /// The lines of a head that say so.
    pub(super) fn fields(&self, origin: &Origin, target: &str) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Range(range) => format!("Range: {range}\r\n"),
            Self::IfRange(range) => {
                let all = origin.generations();
                let newest = all.iter().rev().find(|(of, _)| of == target);
                let tag = newest.and_then(|(_, object)| object.tag()).unwrap_or_default();
                format!("Range: {range}\r\nIf-Range: {tag}\r\n")
            }
        }
    }
}

/// Every case there is.
pub(super) fn any() -> impl Strategy<Value = Case> {
    let rates = prop_oneof![Just(None), (4_u64..32).prop_map(|mib| Some(mib << 20))];
    let objects = prop::collection::vec(shape(), 1..=3);
    let one = step().prop_map(|step| vec![step]);
    let steps = prop_oneof![20 => one, 1 => betrayal()];
    let steps = prop::collection::vec(steps, 4..30).prop_map(|steps| steps.concat());
    (objects, rates, steps).prop_map(|(objects, rate, mut steps)| {
        for step in &mut steps {
            if let Step::Get { key, .. } | Step::Replace(key, _) | Step::Purge(key) = step {
                *key %= objects.len();
            }
        }
        Case { objects, rate, steps }
    })
}

fn shape() -> impl Strategy<Value = Shape> {
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
    let is_chunked = prop::bool::weighted(0.15);
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

fn step() -> impl Strategy<Value = Step> {
    let key = 0_usize..3;
    let leaves = prop::option::weighted(0.15, 0_usize..200_000);
    let get = (key.clone(), asked(), leaves);
    prop_oneof![
        12 => get.prop_map(|(key, range, leaves)| Step::Get { key, range, leaves }),
        3 => (key.clone(), shape()).prop_map(|(key, shape)| Step::Replace(key, shape)),
        4 => (0_usize..3, fault()).prop_map(|(ahead, fault)| Step::Wrong(ahead, fault)),
        1 => key.prop_map(Step::Purge),
        4 => (0_u64..40).prop_map(Step::Pause),
        3 => Just(Step::Settle),
        1 => Just(Step::Kill),
        1 => Just(Step::Restart),
    ]
}

/// An answer that ends early, and one to the request for the rest that is of another generation.
fn betrayal() -> impl Strategy<Value = Vec<Step>> {
    let others = prop::sample::select(vec![Fault::Another, Fault::IgnoreConditions]);
    (0_usize..3, 1_u64..60_000, shape(), others).prop_map(|(key, at, shape, other)| {
        let get = || Step::Get { key, range: Asked::Whole, leaves: None };
        vec![
            Step::Settle,
            Step::Purge(key),
            Step::Wrong(0, Fault::At(at, Stop::Cut)),
            Step::Wrong(1, other),
            get(),
            Step::Pause(40),
            Step::Replace(key, shape),
            get(),
            Step::Settle,
        ]
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let place = || prop_oneof![0_u64..200, 0_u64..200_000, 0_u64..3 << 20];
    let range = prop_oneof![
        (place(), place()).prop_map(|(a, b)| format!("bytes={}-{}", a.min(b), a.max(b))),
        place().prop_map(|first| format!("bytes={first}-")),
        place().prop_map(|last| format!("bytes=-{}", last + 1)),
        (place(), place()).prop_map(|(a, b)| format!("bytes={a}-{},{b}-{}", a + 99, b + 9_999)),
    ];
    prop_oneof![
        3 => Just(Asked::Whole),
        4 => range.clone().prop_map(Asked::Range),
        1 => range.prop_map(Asked::IfRange),
    ]
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
        1 => Just(Fault::Length(TOO_LONG)),
        1 => Just(Fault::Framed(Framing::Chunked)),
        1 => Just(Fault::IgnoreRange),
        1 => Just(Fault::IgnoreConditions),
        1 => Just(Fault::Another),
        1 => Just(Fault::ContentRange("bytes 1-100/300".to_owned())),
        1 => statuses.prop_map(Fault::Status),
    ]
}
