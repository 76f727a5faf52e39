//! Turns secrets that a server sends back into their placeholders again.
//!
//! | file | job |
//! |---|---|
//! | `forms` | the spellings in which a secret may come back |
//! | `patterns` | finds all of them at once |
//! | `redactor` | replaces them in a stream of bytes, split anywhere |
//! | `shared` | lets connections that wrote the same share what they look for |
//!
//! Only what was really written on a connection is looked for there, so a connection without a secret costs nothing.
//! A server that spells a secret in a way of its own (hexadecimal, reversed, compressed inside a message) is not seen
//! through: this keeps an honest server's echo from the sandbox, it is no wall against a server that wants to give the
//! secret away.

mod forms;
mod patterns;
mod redactor;
mod shared;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use zeroize::Zeroizing;

pub(crate) use self::{
    patterns::{Fill, Patterns},
    redactor::{Redactor, Waiting},
};
use crate::secrets::SecretName;

/// A shorter secret is not looked for: what it looks like stands in too many innocent messages.
pub(crate) const SHORTEST: usize = 8;

/// Values of one secret that are looked for: a secret may be rotated while a connection lives.
const VALUES_MAX: usize = 4;

/// The secrets that were written on one connection. Shared by its two directions.
#[derive(Default)]
pub(crate) struct Reflection {
    /// The policy wants what comes back to stay as it is. A reload can only end that: a message that is being searched
    /// has to be searched to its end.
    off: AtomicBool,
    /// Changes with what there is to look for; 0: nothing.
    generation: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Bounded by the configuration's secrets and by [`VALUES_MAX`].
    written: Vec<Arc<Written>>,
    /// Of all that is in `written`; made when somebody asks.
    patterns: Option<Arc<Patterns>>,
}

#[derive(PartialEq, Eq)]
struct Written {
    name: SecretName,
    secret: Zeroizing<Vec<u8>>,
    /// As the client spelled it.
    placeholder: Arc<[u8]>,
}

impl Reflection {
    /// For an endpoint whose policy wants no redaction.
    pub(crate) fn off() -> Self {
        Self {
            off: AtomicBool::new(true),
            ..Self::default()
        }
    }

    /// The policy wants redaction after all, also of what was written before.
    pub(crate) fn turn_on(&self) {
        let _known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if self.off.swap(false, Relaxed) {
            self.generation.fetch_add(1, Relaxed);
        }
    }

    /// Something may have to be redacted some day.
    pub(crate) fn is_on(&self) -> bool {
        !self.off.load(Relaxed)
    }

    /// `secret` was written in the place of `placeholder`. To be called before the server can see it.
    pub(crate) fn note(&self, name: &SecretName, secret: &[u8], placeholder: &[u8]) {
        if secret.len() < SHORTEST {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let written = &mut known.written;
        if written.iter().any(|other| **other.secret == *secret) {
            return;
        }
        if written.iter().filter(|other| other.name == *name).count() == VALUES_MAX
            && let Some(oldest) = written.iter().position(|other| other.name == *name)
        {
            written.remove(oldest);
        }
        written.push(Arc::new(Written {
            name: name.clone(),
            secret: Zeroizing::new(secret.to_vec()),
            placeholder: placeholder.into(),
        }));
        known.patterns = None;
        self.generation.fetch_add(1, Relaxed);
    }

    /// What to search for; `None` as long as nothing was written.
    pub(crate) fn patterns(&self) -> Option<Arc<Patterns>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { written, patterns } = &mut *known;
        if written.is_empty() || !self.is_on() {
            return None;
        }
        let patterns = patterns.get_or_insert_with(|| shared::patterns(written));
        Some(Arc::clone(patterns))
    }

    /// The same; where something may be written soon (`expected`), what finds nothing yet.
    pub(crate) fn patterns_for(&self, expected: bool) -> Option<Arc<Patterns>> {
        let patterns = self.patterns();
        patterns.or_else(|| (expected && self.is_on()).then(|| shared::patterns(&[])))
    }
}

impl fmt::Debug for Reflection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reflection").finish_non_exhaustive()
    }
}

/// One reader's view of a [`Reflection`]: asks it for patterns only when there are new ones.
pub(crate) struct Lookout {
    reflection: Arc<Reflection>,
    generation: usize,
    patterns: Option<Arc<Patterns>>,
}

impl Lookout {
    pub(crate) fn new(reflection: Arc<Reflection>) -> Self {
        Self {
            reflection,
            generation: 0,
            patterns: None,
        }
    }

    /// What to search for from here on. One atomic load if nothing has changed.
    pub(crate) fn patterns(&mut self) -> Option<&Arc<Patterns>> {
        let generation = self.reflection.generation.load(Relaxed);
        if generation != self.generation {
            self.generation = generation;
            self.patterns = self.reflection.patterns();
        }
        self.patterns.as_ref()
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;
