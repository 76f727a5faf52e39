//! The benchmark runs. `cargo xtask bench` tells figures.

use anyhow::Result;
use tests::bench::measure;

#[test]
fn the_benchmark_does_all_that_it_measures_direct_and_through() -> Result<()> {
    let figures = measure(true, |_| {})?;
    // Eleven in each version of HTTP, and one of WebSocket.
    assert_eq!(figures.len(), 23, "{figures:?}");
    Ok(())
}
