//! What one worker's connections share.
