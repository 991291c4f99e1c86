//! Which request is answered by whom.
