//! Writes the table of media types as text, which a program searches where it is.
//!
//! As the slices of slices that it comes as, the loader would write to each of its 28 pages at
//! every start of a program that serves nothing.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;

/// Types that the list lacks, or has by an obsolete name: RFC 9239 §6 (also of CommonJS modules, to
/// which browsers would otherwise apply `nosniff`), RFC 8216 §4 and §10, RFC 6713, RFC 9512, RFC
/// 6350 §10.1, RFC 8949 §9.5. What programmers write is text.
const OTHERS: [(&str, &str); 16] = [
    ("cbor", "application/cbor"),
    ("cjs", "text/javascript"),
    ("diff", "text/plain"),
    ("go", "text/plain"),
    ("lock", "text/plain"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("md5", "text/plain"),
    ("nix", "text/plain"),
    ("patch", "text/plain"),
    ("proto", "text/plain"),
    ("sha256", "text/plain"),
    ("sha512", "text/plain"),
    ("tgz", "application/gzip"),
    ("vcf", "text/vcard"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
];

fn main() {
    let extensions = new_mime_guess::get_extensions("*", "*").expect("there are extensions");
    let types: BTreeMap<String, &str> = extensions
        .iter()
        .filter_map(|extension| {
            let media_type = new_mime_guess::from_ext(extension).first_raw()?;
            Some((extension.to_ascii_lowercase(), media_type))
        })
        .chain(OTHERS.map(|(extension, media_type)| (extension.to_owned(), media_type)))
        .collect();
    let lines = types.iter().map(|(extension, media_type)| format!("{extension} {media_type}\n"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("media_types.txt"), lines.collect::<String>()).expect("it can be written");
    println!("cargo::rerun-if-changed=build.rs");
}
