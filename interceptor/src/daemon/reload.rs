//! Reading the configuration again, and what that changes, in words.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::{Settings, authority, backend::Interceptor};
use crate::{
    config::{self, Snapshot},
    control::{Refusal, RefusalKind, api::ReloadView},
    error::chain,
    flow::{Configuration, Engine},
    tls::leaf::Leaves,
};

/// What stands in the files now, free of faults.
pub(super) struct Reread {
    pub(super) configuration: Configuration,
    /// Where the authority is another one.
    pub(super) leaves: Option<Leaves>,
}

impl Interceptor {
    /// Reads the configuration again and, if it is free of faults, makes it hold for every connection from now on.
    pub(super) async fn reload(&self) -> Result<ReloadView, Refusal> {
        let turn = self.turn().await;
        if self.registry().is_surrendered() {
            return Err(Refusal::new(
                RefusalKind::Conflict,
                "another daemon has taken over meanwhile: try again",
            ));
        }
        let renewed = self.renew().await;
        match &renewed {
            Ok(_) => self.rejection().clear(),
            Err(refusal) => {
                tracing::error!("{}", refusal.error);
                for fault in &refusal.detail {
                    tracing::error!("{fault}");
                }
                if refusal.kind == RefusalKind::Invalid {
                    self.rejection().note(refusal, self.stats());
                }
            }
        }
        let mut view = renewed?;
        view.reports.extend(self.lead().await);
        drop(turn);
        Ok(view)
    }

    /// Everything that can fail comes first.
    async fn renew(&self) -> Result<ReloadView, Refusal> {
        let engine = self.engine();
        let Reread {
            configuration,
            leaves,
        } = reread(self.settings(), engine).await?;
        let running = engine.configuration();
        let mut changed = differences(&running.snapshot, &configuration.snapshot);
        let other_roots = !configuration.connector.trusts_as(&running.connector);
        if other_roots {
            changed.push("upstream roots: changed".to_owned());
        }
        if leaves.is_some() {
            changed.push(
                "ca: another one, by which connections are answered from now on: sandboxes have to trust the new ca.pem"
                    .to_owned(),
            );
        }
        let reports = configuration.snapshot.reports().iter();
        let view = ReloadView {
            reports: reports.map(ToString::to_string).collect(),
            changed,
        };
        self.switch_journal(configuration.snapshot.events_file())
            .await?;
        if (leaves.is_some() || other_roots)
            && let Err(refusal) = self.publish(leaves.as_ref()).await
        {
            // It was open a moment ago.
            self.switch_journal(running.snapshot.events_file()).await?;
            return Err(refusal);
        }
        configuration.snapshot.log_reports();
        if let Some(leaves) = leaves {
            engine.answer_by(leaves);
        }
        engine.reconfigure(configuration);
        self.registry().enroll_again().await;
        for change in &view.changed {
            tracing::info!(change, "reloaded");
        }
        Ok(view)
    }

    async fn switch_journal(&self, path: Option<&Path>) -> Result<(), Refusal> {
        let (stats, path) = (Arc::clone(self.stats()), path.map(Path::to_owned));
        blocking(move || {
            stats.journal(path.as_deref()).map_err(|error| {
                Refusal::new(
                    RefusalKind::Invalid,
                    format!("the file of events cannot be opened: {error}"),
                )
            })
        })
        .await
    }

    /// Puts certificates where sandboxes find them: the authority's, which may be another one, and the platform's roots.
    async fn publish(&self, leaves: Option<&Leaves>) -> Result<(), Refusal> {
        let authority = match leaves {
            Some(leaves) => Arc::clone(leaves.authority()),
            None => Arc::clone(self.engine().leaves().authority()),
        };
        let run_dir = self.settings().run_dir.clone();
        let write = move || authority.write_public(&run_dir);
        blocking(move || write().map_err(|error| Refusal::new(RefusalKind::Failed, chain(&error))))
            .await
    }
}

/// Everything that `engine` goes by, as it stands in the files now.
pub(super) async fn reread(settings: &Settings, engine: &Arc<Engine>) -> Result<Reread, Refusal> {
    let configuration = read(&settings.config, engine).await?;
    let (engine, data_dir) = (Arc::clone(engine), settings.data_dir.clone());
    blocking(move || {
        let authority = authority::reread(&configuration.snapshot, &data_dir)
            .map_err(|error| faulty(vec![chain(&error)]))?;
        let leaves = if authority.is(engine.leaves().authority()) {
            None
        } else {
            let leaves = Leaves::new(Arc::new(authority));
            Some(leaves.map_err(|error| Refusal::new(RefusalKind::Failed, chain(&error)))?)
        };
        Ok(Reread {
            configuration,
            leaves,
        })
    })
    .await
}

/// A configuration that is free of faults, to come after that of `engine`.
pub(super) async fn read(path: &Path, engine: &Arc<Engine>) -> Result<Configuration, Refusal> {
    let path = path.to_owned();
    let running = engine.configuration();
    blocking(move || {
        let snapshot = config::load(&path)
            .map_err(|faults| faulty(faults.to_string().lines().map(str::to_owned).collect()))?;
        let (roots, certificates) = (snapshot.extra_roots(), snapshot.client_certificates());
        let connector = running.connector.renew(roots, certificates);
        Ok(Configuration {
            connector: connector.map_err(|error| faulty(vec![chain(&error)]))?,
            snapshot,
        })
    })
    .await
}

fn faulty(faults: Vec<String>) -> Refusal {
    Refusal::new(
        RefusalKind::Invalid,
        "the configuration is faulty, the running one stays",
    )
    .with_detail(faults)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_stopped| Err(Refusal::new(RefusalKind::Failed, "the daemon is stopping")))
}

/// One line for everything that differs, but for what is in files of certificates; empty when nothing does.
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
    lines
}
