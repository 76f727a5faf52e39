//! The relay between scripted peers, and between real ones.

mod deadlines;
mod forwarding;
mod node;
mod peer;
mod plain;
mod refusing;
mod reuse;
mod rewriting;
mod standing;
mod upgrade;
