//! What a daemon has learned of its sandboxes' clients, for the one that takes over.

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use crate::{address::SandboxId, dns::memory::Told};

/// Of either kind in one part. With the longest names a part is below 48 KiB as JSON.
const PART: usize = 128;

/// Of one sandbox, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memories {
    sandbox: SandboxId,
    /// Addresses that it was given for names, the oldest first.
    told: Vec<Told>,
    /// Hosts whose clients do not take `client_no_context_takeover` unasked, the oldest first.
    strict: Vec<String>,
}

impl Engine {
    /// In parts, and in the order in which they are to be taken on.
    pub(crate) fn memories(&self) -> Vec<Memories> {
        let mut memories = Vec::new();
        for sandbox in self.sandboxes() {
            let part = |told: &[Told], strict: &[String]| Memories {
                sandbox: sandbox.id,
                told: told.to_vec(),
                strict: strict.to_vec(),
            };
            let told = sandbox.names.told();
            memories.extend(told.chunks(PART).map(|told| part(told, &[])));
            let strict = sandbox.takeover.all();
            let strict: Vec<_> = strict.iter().map(ToString::to_string).collect();
            memories.extend(strict.chunks(PART).map(|strict| part(&[], strict)));
        }
        memories
    }

    /// Goes on with what another daemon has learned.
    pub(crate) fn recall(&self, memories: Memories) {
        let Memories {
            sandbox,
            told,
            strict,
        } = memories;
        let Some(sandbox) = self.sandbox(sandbox) else {
            return;
        };
        sandbox.names.recall(told);
        for host in strict.iter().filter_map(|host| host.parse().ok()) {
            sandbox.takeover.note(host);
        }
    }
}
