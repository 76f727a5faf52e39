//! What happened: per-connection records and counters. Recording never blocks the data path.

pub(crate) mod connection;
