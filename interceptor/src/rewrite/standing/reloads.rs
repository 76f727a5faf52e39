//! Reloads, for tests of what lives through them.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::{Review, Reviewed, Revoked, Standing};
use crate::rewrite::release::Release;

/// Says what connections are told when they ask.
pub(crate) struct Reloads {
    sender: watch::Sender<()>,
    answer: Arc<Mutex<Reviewed>>,
}

/// A connection's standing, and what changes it.
pub(crate) fn reloads() -> (Reloads, Standing) {
    let answer = Arc::new(Mutex::new(Ok(Arc::new(Release::nothing()))));
    let (sender, receiver) = watch::channel(());
    let asked = Arc::clone(&answer);
    let review: Review = Arc::new(move || asked.lock().unwrap().clone());
    (Reloads { sender, answer }, Standing::new(receiver, review))
}

impl Reloads {
    pub(crate) fn renew(&self, release: Release) {
        self.answer(Ok(Arc::new(release)));
    }

    pub(crate) fn revoke(&self, revoked: Revoked) {
        self.answer(Err(revoked));
    }

    /// `T` is not the connection's any more.
    pub(crate) fn revoke_secret(&self) {
        self.revoke(Revoked::Secret("T".parse().unwrap()));
    }

    pub(crate) fn revoke_policy(&self) {
        self.revoke(Revoked::Policy("no rule for it".to_owned()));
    }

    fn answer(&self, answer: Reviewed) {
        *self.answer.lock().unwrap() = answer;
        self.sender.send_replace(());
    }
}

impl Standing {
    /// No reload will ever come.
    pub(crate) fn for_ever() -> Self {
        reloads().1
    }
}
