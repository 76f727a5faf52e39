//! Whether a connection may go on, and with which secrets, after the configuration has changed.

use std::{fmt, future::pending, sync::Arc};

use tokio::sync::watch;

use super::release::Release;
use crate::secrets::SecretName;

/// A connection's way to hear of reloads, and to ask what they mean for it. Costs nothing until one comes. A clone hears
/// of each by itself, beginning with those that this one has not heard of.
#[derive(Clone)]
pub(crate) struct Standing {
    /// Changes with each reload. A dropped sender means that none will come.
    reloads: watch::Receiver<()>,
    review: Review,
}

/// Holds a connection against the configuration that is valid now.
pub(crate) type Review = Arc<dyn Fn() -> Reviewed + Send + Sync>;

/// What the connection may write from now on, or why it may not go on.
pub(crate) type Reviewed = Result<Arc<Release>, Revoked>;

/// Why a connection that was allowed is not any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Revoked {
    /// Worded for an operator.
    #[error("{0}")]
    Policy(String),
    #[error("{0}, which was put in on this connection, is no longer for this sandbox and host")]
    Secret(SecretName),
    /// The server is not known to be the name's owner any more. Worded for an operator.
    #[error("{0}")]
    Upstream(String),
}

impl Standing {
    /// `reloads` must have been subscribed to before the configuration was read that the connection began with.
    pub(crate) fn new(reloads: watch::Receiver<()>, review: Review) -> Self {
        Self { reloads, review }
    }

    /// Resolves after a reload. Cancelling loses nothing.
    pub(crate) async fn changed(&mut self) -> Reviewed {
        if self.reloads.changed().await.is_err() {
            pending::<()>().await;
        }
        (self.review)()
    }

    /// The same for a caller who does not wait; `None`: no reload has come since it was last asked.
    pub(crate) fn look(&mut self) -> Option<Reviewed> {
        if !self.reloads.has_changed().unwrap_or(false) {
            return None;
        }
        self.reloads.mark_unchanged();
        Some((self.review)())
    }

    /// What was answered last is to be answered again.
    pub(crate) fn forget(&mut self) {
        self.reloads.mark_changed();
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").finish_non_exhaustive()
    }
}

impl Revoked {
    /// For a client to read, and one of a fixed set.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Policy(_) => "policy_denied",
            Self::Secret(_) => "credential_revoked",
            Self::Upstream(_) => "upstream_unverified",
        }
    }
}

#[cfg(test)]
pub(crate) mod reloads;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    fn counting() -> (watch::Sender<()>, Standing, Arc<AtomicU32>) {
        let (sender, reloads) = watch::channel(());
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let review = move || {
            counter.fetch_add(1, Relaxed);
            Ok(Arc::new(Release::nothing()))
        };
        (sender, Standing::new(reloads, Arc::new(review)), asked)
    }

    #[tokio::test]
    async fn nothing_is_asked_before_a_reload_and_once_after_several() {
        let (sender, mut standing, asked) = counting();
        assert!(standing.look().is_none());
        sender.send_replace(());
        sender.send_replace(());
        standing.changed().await.unwrap();
        assert!(standing.look().is_none());
        assert_eq!(asked.load(Relaxed), 1);
        standing.forget();
        assert!(standing.look().is_some());
        assert_eq!(asked.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn a_clone_hears_by_itself_of_what_its_original_has_not_heard_of() {
        let (sender, mut standing, _asked) = counting();
        sender.send_replace(());
        let mut clone = standing.clone();
        standing.changed().await.unwrap();
        assert!(clone.look().is_some());
        assert!(standing.clone().look().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_daemon_nothing_changes_any_more() {
        let (sender, mut standing, asked) = counting();
        drop(sender);
        let day = std::time::Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, standing.changed()).await.is_err());
        assert!(standing.look().is_none());
        assert_eq!(asked.load(Relaxed), 0);
    }
}
