//! The messages of the Kafka protocol: what a frame says, and how it is said.
