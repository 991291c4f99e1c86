//! How a client asks.

use proptest::prelude::*;
use underpass_testkit::origin::Origin;

/// Which bytes a client asks for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Whole,
    /// The value of a Range field.
    Range(String),
    /// The same if the object is still what it is now.
    IfRange(String),
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

/// Every way there is.
pub(super) fn any() -> impl Strategy<Value = Asked> + Clone {
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
