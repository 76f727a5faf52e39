//! The last few of something, kept apart by sandbox.

use std::collections::{BTreeMap, VecDeque};

use crate::address::SandboxId;

/// Keeps the newest `limit` items of each sandbox, so that a noisy one does not push out what is known of others.
/// Those that are gone, and what belongs to none, share as many.
#[derive(Debug)]
pub(super) struct Rings<T> {
    limit: usize,
    sandboxes: BTreeMap<SandboxId, Ring<T>>,
    others: Ring<T>,
}

impl<T> Rings<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            sandboxes: BTreeMap::new(),
            others: Ring::new(limit),
        }
    }

    pub(super) fn enroll(&mut self, id: SandboxId) {
        let limit = self.limit;
        self.sandboxes.entry(id).or_insert_with(|| Ring::new(limit));
    }

    /// What the sandbox leaves behind is kept among that of others.
    pub(super) fn forget(&mut self, id: SandboxId) {
        let left = self.sandboxes.remove(&id);
        for item in left.into_iter().flat_map(|ring| ring.items) {
            self.others.push(item);
        }
    }

    pub(super) fn push(&mut self, sandbox: Option<SandboxId>, item: T) {
        let own = sandbox.and_then(|id| self.sandboxes.get_mut(&id));
        own.unwrap_or(&mut self.others).push(item);
    }

    /// The newest first, of where something of `sandbox` would be kept.
    pub(super) fn newest(&self, sandbox: Option<SandboxId>) -> impl Iterator<Item = &T> {
        let own = sandbox.and_then(|id| self.sandboxes.get(&id));
        own.unwrap_or(&self.others).items.iter().rev()
    }

    /// In no order between sandboxes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let all = self.sandboxes.values().chain([&self.others]);
        all.flat_map(|ring| &ring.items)
    }
}

#[derive(Debug)]
struct Ring<T> {
    items: VecDeque<T>,
    limit: usize,
}

impl<T> Ring<T> {
    fn new(limit: usize) -> Self {
        Self {
            items: VecDeque::new(),
            limit,
        }
    }

    fn push(&mut self, item: T) {
        if self.items.len() >= self.limit {
            self.items.pop_front();
        }
        self.items.push_back(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISY: Option<SandboxId> = Some(SandboxId(1));
    const QUIET: Option<SandboxId> = Some(SandboxId(2));

    fn rings() -> Rings<u32> {
        let mut rings = Rings::new(3);
        rings.enroll(SandboxId(1));
        rings.enroll(SandboxId(2));
        rings
    }

    #[test]
    fn a_noisy_sandbox_pushes_out_nothing_of_another() {
        let mut rings = rings();
        rings.push(QUIET, 0);
        rings.push(None, 1);
        (2..100).for_each(|item| rings.push(NOISY, item));
        let newest = |sandbox| rings.newest(sandbox).copied().collect::<Vec<_>>();
        assert_eq!(newest(NOISY), [99, 98, 97]);
        assert_eq!(newest(QUIET), [0]);
        assert_eq!(newest(None), [1]);
    }

    #[test]
    fn what_a_sandbox_leaves_behind_is_kept_with_that_of_nobody() {
        let mut rings = rings();
        rings.push(QUIET, 0);
        (1..3).for_each(|item| rings.push(NOISY, item));
        rings.forget(SandboxId(1));
        rings.push(NOISY, 3);
        assert_eq!(rings.newest(None).copied().collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(rings.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
        rings.push(NOISY, 4);
        assert_eq!(rings.newest(NOISY).copied().collect::<Vec<_>>(), [4, 3, 2]);
    }
}
