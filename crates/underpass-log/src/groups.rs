//! Consumer groups: their members, their generations, their offsets.
