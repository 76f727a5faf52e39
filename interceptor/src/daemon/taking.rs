//! `interceptor run --takeover`, where a daemon runs: everything that can fail comes first.

use std::sync::Arc;

use super::{
    RunError, Settings, Standing,
    assembly::Assembly,
    reload::{Reread, reread},
};
use crate::{
    control::listener::ControlListener,
    error::chain,
    handover::{Channel, Door, Legacy},
    sandbox::{Proven, Successor},
};

/// Becomes the daemon of `assembly` in the other one's place.
///
/// # Errors
/// The other one goes on as if nothing had been.
pub(super) async fn take_over(
    settings: Settings,
    assembly: Assembly,
    channel: Channel,
) -> Result<Standing, RunError> {
    let proven = Proven::try_out().await.map_err(RunError::Sandboxes)?;
    let other = channel.introduce().await.map_err(RunError::Handover)?;
    tracing::info!(pid = other.pid, version = other.version, "taking over");
    let loaded = proven
        .load_beside(settings.bpf_dir.clone(), other.pins)
        .await
        .map_err(RunError::Sandboxes)?;
    let mut door = Door::inherit(other.door).map_err(RunError::Handover)?;
    let estate = channel.collect().await.map_err(RunError::Handover)?;
    // The other one may have reloaded since; now it stands still.
    let engine = Arc::clone(&assembly.engine);
    let Reread {
        configuration,
        leaves,
    } = reread(&settings, &engine).await.map_err(|refusal| {
        RunError::Reread([&[refusal.error], &*refusal.detail].concat().join(": "))
    })?;
    if let Some(leaves) = leaves {
        engine.answer_by(leaves);
    }
    engine.reconfigure(configuration);
    let metrics = assembly.place_of_metrics()?;
    let mut control = ControlListener::inherit(other.control);
    let shared = control.share().map_err(RunError::System)?;
    let successor = Successor::prepare(&settings.run_dir, loaded, engine, estate)
        .await
        .map_err(RunError::Sandboxes)?;
    let Legacy {
        last_connection,
        memories,
    } = channel
        .take(&other.process)
        .await
        .map_err(RunError::Handover)?;

    // There is no way back: what goes wrong from here on is logged, and the sandboxes are served all the same.
    let kept = [
        control.keep(&settings.run_dir).map_err(RunError::Control),
        door.keep(&settings.run_dir).map_err(RunError::Door),
    ];
    // The one from before is the same, but where it was made anew.
    let shared = control.share().unwrap_or(shared);
    if let Some(last) = last_connection {
        assembly.stats.number_after(last);
    }
    for part in memories {
        assembly.engine.recall(part);
    }
    let registry = successor.begin().await;
    if let Err(error) = assembly.publish(&settings) {
        tracing::error!(
            error = chain(&error),
            "sandboxes find the earlier daemon's certificates"
        );
    }
    tracing::info!(pid = other.pid, "taken over");
    let mut standing = Standing::new(settings, assembly, registry, shared, door);
    let served = [standing.show(metrics), standing.listen(control)];
    for error in kept.into_iter().chain(served).filter_map(Result::err) {
        tracing::error!(
            error = chain(&error),
            "sandboxes are served, and not all else: let another daemon take over"
        );
    }
    Ok(standing)
}
