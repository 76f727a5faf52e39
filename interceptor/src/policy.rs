//! What a sandbox may reach, and where its secrets may stand.

pub(crate) mod binding;
