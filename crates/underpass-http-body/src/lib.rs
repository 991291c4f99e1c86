//! Files as HTTP bodies that leave by sendfile(2).
#![forbid(unsafe_code)]
