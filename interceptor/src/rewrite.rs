//! Finds placeholders and puts secrets in their place. Sans-IO.

pub(crate) mod release;
