//! Every known way round, tried on a real kernel, and what came of each at both ends.
//!
//! A hostile program in a sandbox tries; the same program beside it, without a sandbox, shows that the attempt would
//! have succeeded. What counts is what the program saw, what left by a device, what arrived outside, and the event that
//! the daemon kept of it.

mod attacker;
mod cast;
mod events;
mod ground;
mod matrix;
mod meanwhile;
mod outside;
mod packets;
mod stage;
mod table;
mod trial;
mod upstream;
mod vector;

pub use self::{
    matrix::{Kernel, Matrix, Row},
    stage::Stage,
    table::vectors,
    trial::try_out,
    vector::{Group, Vector},
};
