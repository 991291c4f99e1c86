//! ApiVersions: what is answered here, in which versions.

use super::Answer;
use crate::wire::api_versions::{ApiVersion, ApiVersionsResponse};
use crate::wire::header::{RequestHeader, respond};
use crate::wire::{ApiKey, ErrorCode, Writer};

/// All that is answered.
pub(super) fn supported() -> ApiVersionsResponse {
    let offer = |key: &ApiKey| {
        let versions = key.advertised();
        ApiVersion {
            api_key: key.number(),
            min_version: *versions.start(),
            max_version: *versions.end(),
        }
    };
    ApiVersionsResponse {
        api_keys: ApiKey::ALL.iter().map(offer).collect(),
        ..ApiVersionsResponse::default()
    }
}

/// The same in version 0, which everybody reads, to a client that asked in a newer one (KIP-511).
pub(super) fn unsupported(header: &RequestHeader) -> Answer {
    let response = ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion, ..supported() };
    let mut writer = Writer::frame();
    respond(&mut writer, &RequestHeader { version: 0, ..header.clone() }, &response);
    Answer::Response(writer.into_pieces())
}
