//! Connections that wrote the same secrets share what they look for: the automaton of a token takes 10 KiB, and a host
//! serves a thousand sessions of one bot.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Patterns, Written, forms};

/// Those that some connection holds. One for each set of secrets with their placeholders as clients spell them, so few.
static LIVE: Mutex<Vec<Weak<Patterns>>> = Mutex::new(Vec::new());

/// What to look for where `written` was written.
pub(super) fn patterns(written: &[Arc<Written>]) -> Arc<Patterns> {
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|patterns| patterns.strong_count() > 0);
    let found = live
        .iter()
        .filter_map(Weak::upgrade)
        .find(|patterns| patterns.written == written);
    found.unwrap_or_else(|| {
        let forms = written
            .iter()
            .flat_map(|one| forms::of(&one.secret, &one.placeholder));
        let patterns = Arc::new(Patterns::new(written.to_vec(), forms));
        live.push(Arc::downgrade(&patterns));
        patterns
    })
}
