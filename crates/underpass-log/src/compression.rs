//! The four codecs a batch may be compressed with.
