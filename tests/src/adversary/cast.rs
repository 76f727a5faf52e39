//! The hostile program in every place where it is tried.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};

use super::{
    attacker::{Attacker, User},
    ground::Ground,
    stage::Side,
    vector::Place,
};
use crate::{cgroup::Cgroup, daemon::Daemon, netns::Netns, sandbox::Sandbox};

/// Fields are dropped in order: no cgroup can be removed while there is somebody in it.
#[derive(Debug)]
pub(super) struct Cast {
    attackers: BTreeMap<(Place, Side), Attacker>,
    /// Does the other half of what takes two, in no sandbox.
    pub(super) accomplice: Attacker,
    sandboxes: BTreeMap<Place, Sandbox>,
    /// Holds the processes that are in none.
    _beside: Sandbox,
}

impl Cast {
    /// Attaches the sandboxes, but for the late one, and starts the program in each place; `programs` holds its sources.
    pub(super) fn new(daemon: &Daemon, ground: &Ground, programs: &Path) -> Result<Self> {
        let beside = Sandbox::beside(daemon, "beside")?;
        let outside = |user, netns| Attacker::start(user, &beside, netns, programs);
        let mut attackers = BTreeMap::new();
        for (place, user, netns) in [
            (Place::Sandbox, User::Nobody, &ground.control),
            (Place::Armed, User::Armed, &ground.control),
            (Place::Hosted, User::Nobody, &ground.host),
        ] {
            attackers.insert((place, Side::Control), outside(user, netns)?);
        }
        attackers.insert(
            (Place::Beside, Side::Sandbox),
            outside(User::Nobody, &ground.late)?,
        );
        let mut sandboxes = BTreeMap::new();
        let late = Sandbox::beside(daemon, Place::Late.sandbox())?;
        let cast: [(&Netns, &[(Place, User)]); 5] = [
            (
                &ground.sandbox,
                &[(Place::Sandbox, User::Nobody), (Place::Root, User::Root)],
            ),
            (
                &ground.excepted,
                &[
                    (Place::Excepted, User::Nobody),
                    (Place::Exempt, User::Exempt),
                ],
            ),
            (&ground.armed, &[(Place::Armed, User::Armed)]),
            (&ground.bounded, &[(Place::Bounded, User::Nobody)]),
            (&ground.host, &[(Place::Hosted, User::Nobody)]),
        ];
        for (netns, roles) in cast {
            let (first, _) = roles.first().context("a sandbox for nobody")?;
            let sandbox = Sandbox::attach(daemon, first.sandbox(), &[netns])?;
            for (place, user) in roles {
                let attacker = Attacker::start(*user, &sandbox, netns, programs)?;
                attackers.insert((*place, Side::Sandbox), attacker);
            }
            sandboxes.insert(*first, sandbox);
        }
        attackers.insert(
            (Place::Late, Side::Sandbox),
            Attacker::start(User::Nobody, &late, &ground.late, programs)?,
        );
        sandboxes.insert(Place::Late, late);
        Ok(Self {
            attackers,
            accomplice: outside(User::Nobody, &ground.control)?,
            sandboxes,
            _beside: beside,
        })
    }

    /// Who tries it there, or what is tried there without a sandbox. In a place that is attached late it is one and the
    /// same; else one beside all sandboxes stands for most of them.
    pub(super) fn attacker(&mut self, place: Place, side: Side) -> Result<&mut Attacker> {
        let side = if place.is_late() { Side::Sandbox } else { side };
        let key = match side {
            Side::Control if !self.attackers.contains_key(&(place, side)) => (Place::Sandbox, side),
            Side::Control | Side::Sandbox => (place, side),
        };
        self.attackers.get_mut(&key).context("nobody is there")
    }

    pub(super) fn sandbox(&self, place: Place) -> Result<&Sandbox> {
        self.sandboxes.get(&place).context("there is no sandbox")
    }

    pub(super) fn cgroup(&self, place: Place) -> Result<&Cgroup> {
        Ok(self.sandbox(place)?.cgroup())
    }
}
