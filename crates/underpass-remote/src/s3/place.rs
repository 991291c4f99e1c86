//! `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&profile=NAME`.
//!
//! As everywhere, bucket and prefix are written as they are, without percent signs; what follows a
//! question mark is ours.

use percent_encoding::percent_decode_str;

/// A bucket, what is served of it, and what the URL says of its server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    /// Keys begin with it; empty, or with a slash at its end.
    pub(crate) prefix: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) profile: Option<String>,
}

/// S3 has 3 to 63 letters; servers that keep less to it have other names.
const NAME_MAX: usize = 255;

impl Place {
    /// # Errors
    ///
    /// What is wrong with the text, for a message that names it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or("give s3://BUCKET/PREFIX")?;
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !bucket.is_empty() && bucket.len() <= NAME_MAX && !bucket.starts_with('.');
        if !is_name || !bucket.bytes().all(is_of_name) {
            return Err(format!("'{bucket}' is not the name of a bucket; give s3://BUCKET/PREFIX"));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.split('/').any(|name| matches!(name, "." | "..")) {
            return Err(format!("the prefix '{prefix}' has a name of dots, which no URL can have"));
        }
        let slash = if prefix.is_empty() { "" } else { "/" };
        let (bucket, prefix) = (bucket.to_owned(), format!("{prefix}{slash}"));
        Self { bucket, prefix, ..Self::default() }.with_options(options)
    }

    fn with_options(mut self, options: &str) -> Result<Self, String> {
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            let place = match name {
                "endpoint" => &mut self.endpoint,
                "region" => &mut self.region,
                "profile" => &mut self.profile,
                _ => {
                    let known = "there are endpoint, region and profile";
                    return Err(format!("after the question mark is '{option}'; {known}"));
                }
            };
            if value.is_empty() || place.replace(value).is_some() {
                return Err(format!("give one {name}, as in ?{name}=…"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_its_prefix_and_what_is_said_of_its_server() {
        let place = |bucket: &str, prefix: &str| Place {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            ..Place::default()
        };
        for (text, wanted) in [
            ("s3://data", place("data", "")),
            ("s3://data/", place("data", "")),
            ("s3://data/a b/c%20d+", place("data", "a b/c%20d+/")),
            ("s3://da.ta_1/a//", place("da.ta_1", "a//")),
            ("s3://data//a", place("data", "/a/")),
        ] {
            assert_eq!(Place::parse(text), Ok(wanted), "{text}");
        }
        let text = "s3://data/p?endpoint=http://127.0.0.1:7070&region=eu-west-1&profile=a%20b";
        let wanted = Place {
            endpoint: Some("http://127.0.0.1:7070".to_owned()),
            region: Some("eu-west-1".to_owned()),
            profile: Some("a b".to_owned()),
            ..place("data", "p/")
        };
        assert_eq!(Place::parse(text), Ok(wanted));
    }

    #[test]
    fn what_is_none_is_said_with_what_to_give() {
        for (text, said) in [
            ("s3://", "'' is not the name of a bucket; give s3://BUCKET/PREFIX"),
            ("s3://a b/c", "'a b' is not the name of a bucket"),
            ("s3://../c", "'..' is not the name of a bucket"),
            ("s3://u:p@data", "'u:p@data' is not the name of a bucket"),
            ("s3://data/a/../b", "the prefix 'a/../b' has a name of dots"),
            ("s3://data?zone=x", "after the question mark is 'zone=x'; there are endpoint,"),
            ("s3://data?region=", "give one region, as in ?region=…"),
            ("s3://data?region=a&region=b", "give one region"),
        ] {
            let error = Place::parse(text).unwrap_err();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
