//! What the daemon takes for what it carries. `cargo xtask memory` measures more of it.

use anyhow::Result;
use tests::load::{Load, measure};

#[test]
fn long_messages_long_bodies_many_messages_and_idle_connections_take_no_more_than_they_may()
-> Result<()> {
    let figures = measure(&Load {
        message: 64 << 20,
        messages: 50_000,
        connections: 100,
        body: 16 << 20,
    })?;
    let table: Vec<String> = figures.iter().map(ToString::to_string).collect();
    assert!(figures.iter().all(|figure| figure.holds()), "{table:#?}");
    Ok(())
}
