//! The records inside a batch, for the few who must look: validation in full, and look-ups by time.
