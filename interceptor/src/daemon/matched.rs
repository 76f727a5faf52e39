//! Attaches the sandboxes whose configuration names their cgroup, when that cgroup appears.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::backend::Interceptor;
use crate::error::chain;

/// A cgroup that appears is noticed within this time. `attach` before the first process starts is the way to leave no
/// gap.
const PERIOD: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(super) async fn attach_matched(interceptor: Arc<Interceptor>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was logged last for a cgroup: a failure that stays the same is said once.
    let mut failures: HashMap<PathBuf, String> = HashMap::new();
    loop {
        ticks.tick().await;
        for (name, cgroup) in interceptor.missing().await {
            match interceptor.attach_cgroup(&name, &cgroup).await {
                Ok(()) => {
                    failures.remove(&cgroup);
                    tracing::info!(sandbox = &*name, cgroup = %cgroup.display(), "attached as configured");
                }
                Err(error) => {
                    let error = chain(&error);
                    if failures.get(&cgroup) != Some(&error) {
                        tracing::error!(
                            sandbox = &*name,
                            cgroup = %cgroup.display(),
                            error,
                            "the configured sandbox is NOT protected"
                        );
                        failures.insert(cgroup, error);
                    }
                }
            }
        }
    }
}
