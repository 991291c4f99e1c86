//! Content codings: which a client takes, and which of those that there are it gets.
//!
//! Pure. A client that names no coding gets none, although RFC 9110 §12.5.3 would let it have any.
//! Where nothing is acceptable that there is, the field is disregarded (§12.1).
//!
//! Source: RFC 9110 §8.4.1 (codings), §12.5.3 (Accept-Encoding); RFC 7932 §13
//! (br); RFC 8878 §7.2 (zstd).

use std::str::FromStr;

use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

use crate::weight::weight;

/// A content coding that files may be stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Zstandard, in `.zst`.
    Zstd,
    /// Brotli, in `.br`.
    Brotli,
    /// gzip, in `.gz`.
    Gzip,
}

impl Coding {
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The name that it has in fields.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    pub(crate) const fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// What the name of a file in it has at its end.
    pub(crate) const fn ending(self) -> &'static [u8] {
        match self {
            Self::Zstd => b".zst",
            Self::Brotli => b".br",
            Self::Gzip => b".gz",
        }
    }
}

/// Codings in the order in which they are preferred, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codings(Vec<Coding>);

impl Codings {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Coding> {
        self.0.iter().copied()
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a text is not a list of codings.
#[derive(Debug, Clone, thiserror::Error)]
#[error("'{0}': give zstd, br and gzip, or some of them, each once, or off")]
pub struct CodingsError(String);

/// Names with commas between them, or `off`.
impl FromStr for Codings {
    type Err = CodingsError;

    fn from_str(text: &str) -> Result<Self, CodingsError> {
        let mut codings = Vec::new();
        for name in text.split(',').filter(|_| text != "off") {
            let named = Coding::ALL.into_iter().find(|coding| coding.name() == name.trim());
            let coding = named.filter(|coding| !codings.contains(coding));
            codings.push(coding.ok_or_else(|| CodingsError(name.into()))?);
        }
        Ok(Self(codings))
    }
}

/// The place of the one to be sent; nothing if that is the file as it is. Of equal weights the
/// first one counts, and a coding more than none.
pub(crate) fn choose(
    headers: &HeaderMap,
    available: impl Iterator<Item = Coding>,
) -> Option<usize> {
    let accepted = Accepted::by(headers);
    let (mut best, mut best_weight) = (None, 0);
    for (at, coding) in available.enumerate() {
        let weight = accepted.weight(coding);
        if weight > best_weight {
            (best, best_weight) = (Some(at), weight);
        }
    }
    best.filter(|_| accepted.identity.is_none_or(|identity| identity <= best_weight))
}

/// What a client takes, in thousandths; the first of two mentions counts.
#[derive(Debug, Default)]
struct Accepted {
    zstd: Option<u16>,
    brotli: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    /// All that is not mentioned.
    others: Option<u16>,
}

impl Accepted {
    fn by(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        let fields = headers.get_all(ACCEPT_ENCODING).iter();
        for member in fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b',')) {
            let mut halves = member.splitn(2, |&byte| byte == b';');
            let name = halves.next().unwrap_or_default().trim_ascii();
            let Some(weight) = halves.next().map_or(Some(1000), weight) else { continue };
            if let Some(of_name) = accepted.of_name(name) {
                of_name.get_or_insert(weight);
            }
        }
        accepted
    }

    /// RFC 9110 §8.4.1: names of codings are case-insensitive; §8.4.1.3: `x-gzip` is gzip.
    fn of_name(&mut self, name: &[u8]) -> Option<&mut Option<u16>> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"zstd" => &mut self.zstd,
            b"br" => &mut self.brotli,
            b"gzip" | b"x-gzip" => &mut self.gzip,
            b"identity" => &mut self.identity,
            b"*" => &mut self.others,
            _ => return None,
        })
    }

    fn weight(&self, coding: Coding) -> u16 {
        let mentioned = match coding {
            Coding::Zstd => self.zstd,
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        };
        mentioned.or(self.others).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen of these, as it is named.
    fn chosen(fields: &[&str], available: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT_ENCODING, HeaderValue::try_from(*field).unwrap());
        }
        let available: Codings = available.parse().unwrap();
        let chosen = choose(&headers, available.iter());
        chosen.map_or("identity", |at| available.0[at].name())
    }

    #[test]
    fn the_greatest_weight_counts_and_then_the_order_here() {
        for (field, name) in [
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, br", "br"),
            ("gzip", "gzip"),
            ("GZip", "gzip"),
            ("x-gzip", "gzip"),
            ("gzip;q=1.0, br;q=0.9", "gzip"),
            ("gzip ; q=0.001", "gzip"),
            ("gzip;\tQ=0.5 ,br;q=0.500, zstd;q=0.499", "br"),
            ("*", "zstd"),
            ("*;q=0.5, zstd;q=0", "br"),
            ("gzip, *;q=0", "gzip"),
            ("gzip;q=0, *", "zstd"),
            ("identity;q=0.5, gzip;q=0.4", "identity"),
            ("identity;q=0.5, gzip;q=0.5", "gzip"),
            ("identity;q=0, gzip;q=0.1", "gzip"),
            ("identity;q=0", "identity"),
            ("*;q=0", "identity"),
            ("", "identity"),
            (",", "identity"),
            ("identity", "identity"),
            ("deflate, compress", "identity"),
            ("gzip;q=0", "identity"),
            ("gzip;q=0.000", "identity"),
            ("gzip;q=0, gzip", "identity"),
        ] {
            assert_eq!(chosen(&[field], "zstd,br,gzip"), name, "{field:?}");
        }
    }

    #[test]
    fn only_what_there_is_can_be_chosen() {
        assert_eq!(chosen(&["gzip, br, zstd"], "gzip"), "gzip");
        assert_eq!(chosen(&["br, zstd"], "gzip"), "identity");
        assert_eq!(chosen(&["gzip, br, zstd"], "off"), "identity");
        assert_eq!(chosen(&["gzip, br, zstd"], "gzip,br"), "gzip");
        assert_eq!(chosen(&[], "zstd,br,gzip"), "identity");
    }

    #[test]
    fn several_fields_are_one_list() {
        assert_eq!(chosen(&["gzip;q=0.5", "br"], "zstd,br,gzip"), "br");
        assert_eq!(chosen(&["gzip;q=0", "gzip"], "gzip"), "identity");
    }

    #[test]
    fn a_member_that_does_not_parse_is_not_there() {
        for field in [
            "gzip;q",
            "gzip;q=",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=-1",
            "gzip;q=.5",
            "gzip;q=1;a=b",
            "gzip;level=9",
            "gzip;",
            "gzip q=1",
            "gz ip",
            "\"gzip\"",
        ] {
            assert_eq!(chosen(&[field], "gzip"), "identity", "{field:?}");
            assert_eq!(chosen(&[&format!("{field}, br;q=1.")], "gzip,br"), "br", "{field:?}");
        }
    }

    #[test]
    fn codings_are_named_once_each() {
        let codings: Codings = "gzip, zstd".parse().unwrap();
        assert_eq!(codings.0, [Coding::Gzip, Coding::Zstd]);
        assert!("off".parse::<Codings>().unwrap().is_empty());
        for wrong in ["", "gzip,gzip", "gzip,", "zst", "off,gzip", "GZIP"] {
            assert!(wrong.parse::<Codings>().is_err(), "{wrong:?}");
        }
    }
}
