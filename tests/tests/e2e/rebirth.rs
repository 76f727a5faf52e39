//! Daemons that are killed at any moment. `cargo xtask upgrades` kills more of them.

use anyhow::{Context as _, Result};
use tests::rebirth::{Seed, die};

#[test]
fn a_daemon_killed_at_any_moment_leaves_its_sandboxes_closed_and_nothing_behind() -> Result<()> {
    let seed = Seed::fresh();
    die(seed, 5).with_context(|| format!("the seed was {}", seed.0))?;
    Ok(())
}
