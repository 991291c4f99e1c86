//! Segment files that are open, the least recently used of which gives way.
