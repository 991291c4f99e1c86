//! Entity-tags of buckets that are digests of what they are of.
//!
//! S3 makes an object's tag by MD5 if it came in one part and is not encrypted with a key of its
//! user, but says so nowhere, and directory buckets and others that speak S3 make tags of other
//! things that look alike. So a tag counts as a digest once another of its bucket was one: until
//! then, one that is not says nothing.
//!
//! Source: Amazon S3 API, Object, `ETag`; "Differences for directory buckets".

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::checksum;
use crate::error::ObjectError;
use crate::head::Head;
use crate::key::Key;

/// Buckets of which a tag was the digest of its object.
#[derive(Debug, Default)]
pub(crate) struct Tags(Mutex<HashSet<String>>);

impl Tags {
    /// Compares an object's tag with its digest, where that is to be equal.
    pub(crate) fn compare(
        &self,
        key: &Key,
        tag: [u8; 16],
        found: [u8; 16],
    ) -> Result<(), ObjectError> {
        let bucket = key.as_str().split('/').take(3).collect::<Vec<_>>().join("/");
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tag == found {
            known.insert(bucket);
            return Ok(());
        }
        let is_digest = known.contains(&bucket);
        drop(known);
        if is_digest { Err(checksum::other(&tag, &found)) } else { Ok(()) }
    }
}

/// What a tag says if it is an MD5 digest.
pub(crate) fn digest_of(head: &Head) -> Option<[u8; 16]> {
    let plain = |how: &str| how == "AES256";
    let is_plain = head.field("x-amz-server-side-encryption").is_none_or(plain)
        && head.field("x-amz-server-side-encryption-customer-algorithm").is_none();
    let tag = head.field("etag").filter(|_| is_plain)?.strip_prefix('"')?.strip_suffix('"')?;
    let is_hexadecimal = tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digest = u128::from_str_radix(tag, 16).ok()?.to_be_bytes();
    (tag.len() == 32 && is_hexadecimal).then_some(digest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use md5::{Digest, Md5};
    use underpass_client::Client;
    use underpass_testkit::origin::Object as Content;
    use underpass_testkit::payload::pattern;

    use super::*;
    use crate::bucket::Bucket;
    use crate::origin::Origin;
    use crate::rig::{LEN, Rig, read, until};
    use crate::s3::environment::Environment;
    use crate::testing;

    #[test]
    fn a_tag_is_a_digest_if_it_looks_like_one_and_nothing_says_otherwise() {
        let hex = "\"000102030405060708090a0b0c0d0e0F\"";
        let digest = Some(std::array::from_fn(|n| u8::try_from(n).unwrap()));
        let kms = ("x-amz-server-side-encryption", "aws:kms");
        let s3 = ("x-amz-server-side-encryption", "AES256");
        let own = ("x-amz-server-side-encryption-customer-algorithm", "AES256");
        for (fields, wanted) in [
            (&[("etag", hex)][..], digest),
            (&[("etag", hex), s3], digest),
            (&[("etag", hex), kms], None),
            (&[("etag", hex), own], None),
            (&[("etag", "\"000102030405060708090a0b0c0d0e0f-2\"")], None),
            (&[("etag", "\"+00102030405060708090a0b0c0d0e0f\"")], None),
            (&[("etag", "\"0f\"")], None),
            (&[("etag", "000102030405060708090a0b0c0d0e0f")], None),
            (&[], None),
        ] {
            assert_eq!(digest_of(&testing::head(fields)), wanted, "{fields:?}");
        }
    }

    /// Whether objects with these tags, `None` for the digest, are kept one after the other.
    fn kept(tags: &[Option<&str>], is_bucket: bool) -> Vec<bool> {
        let mut rig = Rig::new();
        if is_bucket {
            let url = format!("s3://bucket?endpoint={}", rig.server.url(""));
            let environment = Environment::of(&[
                ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
            ]);
            let bucket = Bucket::of(&url, Client::default(), &environment).unwrap();
            rig.origin = Arc::new(Origin::Bucket(bucket));
        }
        let is_kept = |(number, tag): (usize, &Option<&str>)| {
            let bytes = pattern(0..LEN);
            let digest = Md5::digest(&bytes);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let tag = format!("\"{}\"", tag.unwrap_or(&hex));
            let path = if is_bucket { format!("/bucket/{number}") } else { format!("/{number}") };
            rig.server.put(&path, Content::of(bytes).etag(Some(&tag)));
            let (entry, object) = rig.ask_and_open(&format!("/{number}"));
            read(&object, 0..LEN).unwrap();
            until(|| entry.is_whole() || entry.is_removed());
            entry.is_whole()
        };
        tags.iter().enumerate().map(is_kept).collect()
    }

    #[test]
    fn a_wrong_digest_is_not_kept_where_tags_are_digests() {
        let other = Some("00000000000000000000000000000000");
        assert_eq!(kept(&[other, None, other, None], true), [true, true, false, true]);
        assert_eq!(kept(&[None, other, Some("x")], false), [true; 3], "a web server");
        assert_eq!(kept(&[None, Some("x")], true), [true; 2]);
    }
}
