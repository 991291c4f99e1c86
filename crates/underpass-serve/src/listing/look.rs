//! What a name promises to be, by its media type: its picture, and whether the page can show it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::media_type::MediaTypes;

/// What the file of a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Folder,
    Image,
    Text,
    Media,
    Archive,
    Other,
}

impl Look {
    pub(super) fn of(name: &[u8], media_types: &MediaTypes) -> Self {
        let media_type = media_types.of(Path::new(OsStr::from_bytes(name)));
        let whole = media_type.to_str().unwrap_or_default();
        let essence = whole.split(';').next().unwrap_or_default();
        let (kind, of_kind) = essence.split_once('/').unwrap_or_default();
        match kind {
            "image" if IMAGES.contains(&of_kind) => Self::Image,
            "text" => Self::Text,
            "audio" | "video" => Self::Media,
            _ if TEXTS.contains(&of_kind) => Self::Text,
            _ if of_kind.ends_with("+json") || of_kind.ends_with("+xml") => Self::Text,
            _ if ARCHIVES.contains(&of_kind) => Self::Archive,
            _ => Self::Other,
        }
    }

    pub(super) const fn icon(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Image => "image",
            Self::Text => "text",
            Self::Media => "media",
            Self::Archive => "archive",
            Self::Other => "file",
        }
    }

    /// As what the script shows it.
    pub(super) const fn preview(self) -> Option<&'static str> {
        match self {
            Self::Image => Some("image"),
            Self::Text => Some("text"),
            Self::Folder | Self::Media | Self::Archive | Self::Other => None,
        }
    }
}

/// The images that every browser shows.
const IMAGES: [&str; 10] = [
    "apng",
    "avif",
    "bmp",
    "gif",
    "jpeg",
    "png",
    "svg+xml",
    "vnd.microsoft.icon",
    "webp",
    "x-icon",
];

/// Types of texts that are not named so.
const TEXTS: [&str; 10] =
    ["json", "xml", "toml", "x-sh", "x-httpd-php", "x-perl", "sql", "x-yaml", "yaml", "x-tex"];

const ARCHIVES: [&str; 12] = [
    "gzip",
    "java-archive",
    "vnd.debian.binary-package",
    "vnd.rar",
    "x-7z-compressed",
    "x-bzip2",
    "x-compressed",
    "x-gtar",
    "x-rar-compressed",
    "x-tar",
    "x-xz",
    "zip",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_shown_is_told_by_the_name() {
        for (name, look) in [
            ("a.jpg", Look::Image),
            ("A.PNG", Look::Image),
            ("a.svg", Look::Image),
            ("a.tiff", Look::Other),
            ("a.txt", Look::Text),
            ("README", Look::Text),
            ("a.json", Look::Text),
            ("a.xml", Look::Text),
            ("a.atom", Look::Text),
            ("a.mp4", Look::Media),
            ("a.flac", Look::Media),
            ("a.tar", Look::Archive),
            ("a.zip", Look::Archive),
            ("a.tar.gz", Look::Archive),
            ("a", Look::Other),
            ("a.bin", Look::Other),
        ] {
            assert_eq!(Look::of(name.as_bytes(), &MediaTypes::default()), look, "{name}");
        }
    }
}
