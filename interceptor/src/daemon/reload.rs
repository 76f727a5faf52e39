//! Reading the configuration again, and what that changes, in words.

use std::{collections::BTreeSet, path::Path};

use crate::{
    config::{self, Snapshot},
    control::{Refusal, RefusalKind},
    error::chain,
    flow::Configuration,
    tls::upstream::Connector,
};

/// A configuration that is free of faults.
pub(super) async fn read(path: &Path) -> Result<Configuration, Refusal> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let snapshot = config::load(&path).map_err(|faults| {
            let detail = faults.to_string().lines().map(str::to_owned).collect();
            Refusal::new(
                RefusalKind::Invalid,
                "the configuration is faulty, the running one stays",
            )
            .with_detail(detail)
        })?;
        let connector = Connector::new(snapshot.extra_roots(), snapshot.client_certificates())
            .map_err(|error| Refusal::new(RefusalKind::Invalid, chain(&error)))?;
        Ok(Configuration {
            snapshot,
            connector,
        })
    });
    read.await
        .unwrap_or_else(|_stopped| Err(Refusal::new(RefusalKind::Failed, "the daemon is stopping")))
}

/// One line for everything that differs; empty when nothing does.
pub(super) fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let names = |snapshot: &Snapshot| -> BTreeSet<_> {
        snapshot
            .sandboxes()
            .map(|rules| rules.name.clone())
            .collect()
    };
    for name in names(before).union(&names(after)) {
        match (before.sandbox(name), after.sandbox(name)) {
            (None, Some(_)) => lines.push(format!("sandbox {name}: added")),
            (Some(_), None) => {
                lines.push(format!("sandbox {name}: removed, it may reach nothing now"))
            }
            (Some(old), Some(new)) if old != new => lines.push(format!("sandbox {name}: changed")),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    let secrets =
        |snapshot: &Snapshot| -> BTreeSet<_> { snapshot.secret_names().cloned().collect() };
    for name in secrets(before).union(&secrets(after)) {
        match (before.has_secret(name), after.has_secret(name)) {
            (false, true) => lines.push(format!("secret {name}: added")),
            (true, false) => lines.push(format!("secret {name}: removed")),
            (true, true) if !before.same_secret(after, name) => {
                lines.push(format!("secret {name}: changed"))
            }
            (true, true) | (false, false) => {}
        }
    }
    if before.resolve() != after.resolve() {
        lines.push("resolve: changed".to_owned());
    }
    if before.name_servers() != after.name_servers() {
        lines.push("dns: changed".to_owned());
    }
    if before.extra_roots() != after.extra_roots() {
        lines.push("upstream roots: changed".to_owned());
    }
    if before.client_certificates() != after.client_certificates() {
        lines.push("upstream client certificates: changed".to_owned());
    }
    if before.events_file() != after.events_file() {
        lines.push("events: written to another file".to_owned());
    }
    if before.metrics() != after.metrics() {
        lines.push(
            "metrics: changed, which takes effect when the daemon is started again".to_owned(),
        );
    }
    if before.ca() != after.ca() {
        lines.push("ca: changed, which takes effect when the daemon is started again".to_owned());
    }
    lines
}
