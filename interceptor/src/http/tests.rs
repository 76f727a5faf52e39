//! The relay between scripted peers, and between real ones.

mod bodies;
mod deadlines;
mod forwarding;
mod node;
pub(crate) mod peer;
mod plain;
mod redaction;
mod refusing;
mod reuse;
mod rewriting;
mod standing;
mod upgrade;
