//! What each sandbox has counted, and what the daemon took out of the tables that all of them use.

use std::sync::Mutex;

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use interceptor_ebpf::tally::{Taken, Tally};

use super::{
    abi::Abi,
    maps::{MapsError, absent_is_fine, entering, locked, typed, using},
};
use crate::address::SandboxId;

const TALLIES: &str = "TALLIES";
const TAKEN: &str = "TAKEN";

/// The maps of them.
pub(super) struct Tallies {
    tallies: Mutex<HashMap<MapData, u32, Abi<Tally>>>,
    taken: Mutex<HashMap<MapData, u32, Abi<Taken>>>,
}

impl Tallies {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, MapsError> {
        Ok(Self {
            tallies: Mutex::new(typed(object, TALLIES)?),
            taken: Mutex::new(typed(object, TAKEN)?),
        })
    }

    /// Without a tally the programs give a sandbox no share. One that is there goes on counting.
    pub(super) fn open(&self, id: SandboxId) -> Result<(), MapsError> {
        let mut tallies = locked(&self.tallies);
        match tallies.get(&id.0, 0) {
            Ok(_) => Ok(()),
            Err(MapError::KeyNotFound) => tallies
                .insert(id.0, Abi(Tally::default()), 0)
                .map_err(entering(TALLIES)),
            Err(error) => Err(using(TALLIES)(error)),
        }
    }

    pub(super) fn close(&self, id: SandboxId) -> Result<(), MapsError> {
        absent_is_fine(locked(&self.tallies).remove(&id.0)).map_err(using(TALLIES))?;
        absent_is_fine(locked(&self.taken).remove(&id.0)).map_err(using(TAKEN))
    }

    pub(super) fn of(&self, id: SandboxId) -> Tally {
        let tally = locked(&self.tallies).get(&id.0, 0);
        tally.map_or_else(|_none| Tally::default(), |Abi(tally)| tally)
    }

    /// Gives a sandbox back what the daemon has taken out of a table.
    pub(super) fn took(&self, sandbox: u32, change: impl FnOnce(&mut Taken)) {
        // Of one that is detached nothing is counted any more.
        if sandbox == 0 || locked(&self.tallies).get(&sandbox, 0).is_err() {
            return;
        }
        let mut taken = locked(&self.taken);
        let mut now = taken
            .get(&sandbox, 0)
            .map_or_else(|_none| Taken::default(), |Abi(now)| now);
        change(&mut now);
        if let Err(error) = taken.insert(sandbox, Abi(now), 0) {
            tracing::warn!(%error, sandbox, "a sandbox's share shrinks by an entry");
        }
    }
}
