//! Group commit: one fdatasync for all that was appended meanwhile.
