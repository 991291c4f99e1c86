//! Objects of an origin, kept here: how they come, and how they leave meanwhile.
