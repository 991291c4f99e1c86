//! The requests that are answered: their numbers, their versions, their types.
//!
//! Source: Kafka's protocol guide, "Api Keys"; `docs/log-clients.md` for what each client sends.

use std::ops::RangeInclusive;

use super::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use super::fetch::{FetchRequest, FetchResponse};
use super::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use super::list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
use super::metadata::{MetadataRequest, MetadataResponse};
use super::produce::{ProduceRequest, ProduceResponse};
use super::schema::Message;

/// A message that is answered.
pub(crate) trait Request: Message {
    /// What it is in a header.
    const KEY: ApiKey;
    /// The versions that are read.
    const VERSIONS: RangeInclusive<i16> = Self::KEY.versions();
    /// What answers it.
    type Response: Message;
}

/// Stands for "no version is flexible".
const NEVER: i16 = i16::MAX;

macro_rules! keys {
    ($(
        $key:ident = $number:literal: $versions:expr, flexible $flexible:expr,
        $request:ident => $response:ident;
    )+) => {
        /// A kind of request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub(crate) enum ApiKey {
            $($key = $number,)+
        }

        impl ApiKey {
            /// Every one that is answered.
            pub(crate) const ALL: &[Self] = &[$(Self::$key),+];

            /// The key of `number`.
            pub(crate) const fn from_number(number: i16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$key),)+
                    _ => None,
                }
            }

            /// The versions that are read.
            pub(crate) const fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(Self::$key => $versions,)+
                }
            }

            /// The first flexible version.
            pub(crate) const fn flexible_from(self) -> i16 {
                match self {
                    $(Self::$key => $flexible,)+
                }
            }
        }

        $(
            impl Message for $request {
                const FLEXIBLE_FROM: i16 = $flexible;
            }

            impl Message for $response {
                const FLEXIBLE_FROM: i16 = $flexible;
            }

            impl Request for $request {
                const KEY: ApiKey = ApiKey::$key;
                type Response = $response;
            }
        )+
    };
}

keys! {
    Produce = 0: 3..=9, flexible 9, ProduceRequest => ProduceResponse;
    Fetch = 1: 4..=12, flexible 12, FetchRequest => FetchResponse;
    ListOffsets = 2: 1..=7, flexible 6, ListOffsetsRequest => ListOffsetsResponse;
    Metadata = 3: 0..=9, flexible 9, MetadataRequest => MetadataResponse;
    ApiVersions = 18: 0..=3, flexible 3, ApiVersionsRequest => ApiVersionsResponse;
    InitProducerId = 22: 0..=4, flexible 2, InitProducerIdRequest => InitProducerIdResponse;
}

impl ApiKey {
    /// What stands for it in a header.
    pub(crate) const fn number(self) -> i16 {
        self as i16
    }

    /// Whether `version` is read.
    pub(crate) fn reads(self, version: i16) -> bool {
        self.versions().contains(&version)
    }

    /// The versions that clients are told of.
    pub(crate) fn advertised(self) -> RangeInclusive<i16> {
        // KAFKA-18659: librdkafka sends gzip, lz4 and snappy uncompressed, and says nothing of it,
        // to a broker that does not claim to read version 0.
        if self == Self::Produce { 0..=*self.versions().end() } else { self.versions() }
    }

    /// The version of the header of a request.
    pub(crate) const fn request_header(self, version: i16) -> i16 {
        if version >= self.flexible_from() { 2 } else { 1 }
    }

    /// The version of the header of a response.
    pub(crate) const fn response_header(self, version: i16) -> i16 {
        // KIP-511: a client reads this response before it knows which versions a broker has.
        let is_flexible = version >= self.flexible_from() && !matches!(self, Self::ApiVersions);
        if is_flexible { 1 } else { 0 }
    }
}
