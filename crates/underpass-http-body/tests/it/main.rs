//! Unmodified hyper with bodies of files.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use underpass::FileBytes;
use underpass_http_body::FileBody;

mod body;
mod faults;
mod shape;

#[expect(unsafe_code, reason = "bodies by reference are what is tested")]
fn by_reference(file: FileBytes) -> FileBody {
    // SAFETY: `FileBytes::into_bytes`: where files change, the consumers under test read nothing,
    // or read in order and ask for the end.
    FileBody::by_reference(unsafe { file.into_frames() })
}
