//! A small blocking client, for the command and for tests.
