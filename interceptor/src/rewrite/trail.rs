//! Knows on which fields' paths a place in a document lies, whatever the document is written in.
//!
//! Readers disagree about a member that is there twice, so all its occurrences count: a guard holds if it is there and
//! each of its values is one of those allowed, whatever other spelling a reader that ignores case might take for it.
//! A field that is there twice is the field both times.

use std::sync::Arc;

use crate::policy::binding::{Guard, GuardValue, JsonField};

/// Containers that may be open at once.
pub(crate) const DEPTH_MAX: u32 = 64;

/// More than [`DEPTH_MAX`] containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooDeep;

/// What is known of a field's guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardState {
    /// The guard's member was not seen yet.
    Unseen,
    Holds,
    Violated,
}

impl GuardState {
    /// The verdict of two looks at parts of the same document.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Violated, _) | (_, Self::Violated) => Self::Violated,
            (Self::Holds, _) | (_, Self::Holds) => Self::Holds,
            (Self::Unseen, Self::Unseen) => Self::Unseen,
        }
    }
}

/// A value that a guard may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar<'v> {
    Integer(u64),
    Text(&'v [u8]),
    Other,
}

/// Where a reader of one document stands.
pub(crate) struct Trail {
    fields: Arc<[JsonField]>,
    /// One for each field.
    tracks: Vec<Track>,
    /// Containers that are open.
    depth: u32,
    /// Bit `depth - 1` is set for an object.
    objects: u64,
}

/// How far the open containers lie on a field's path.
struct Track {
    /// Names of the path that the open containers stand for.
    matched: usize,
    /// The current member's name is the path's next one.
    on_path: bool,
    /// The current member is the guard, or what a reader that ignores case takes for it.
    on_guard: bool,
    /// Spelled as the guard.
    exact: bool,
    guard: GuardState,
}

impl Trail {
    pub(crate) fn new(fields: Arc<[JsonField]>) -> Self {
        let tracks = fields.iter().map(Track::new).collect();
        Self {
            fields,
            tracks,
            depth: 0,
            objects: 0,
        }
    }

    /// A container begins: an object, or a list.
    pub(crate) fn open(&mut self, object: bool) -> Result<(), TooDeep> {
        self.judge(Scalar::Other);
        if self.depth == DEPTH_MAX {
            return Err(TooDeep);
        }
        let parent = self.depth as usize;
        for track in &mut self.tracks {
            if object && track.on_path {
                track.matched = parent;
            }
            track.leave_member();
        }
        let bit = 1 << self.depth;
        self.depth += 1;
        if object {
            self.objects |= bit;
        } else {
            self.objects &= !bit;
        }
        Ok(())
    }

    /// The innermost container ends, but not yet the value that it is.
    pub(crate) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        let parents = (self.depth as usize).saturating_sub(1);
        for track in &mut self.tracks {
            track.matched = track.matched.min(parents);
        }
    }

    /// A member of the innermost object begins.
    pub(crate) fn member(&mut self, name: &[u8]) {
        let parents = (self.depth as usize).saturating_sub(1);
        for (track, field) in self.tracks.iter_mut().zip(self.fields.iter()) {
            track.enter_member(field, parents, name);
        }
    }

    /// A guard depends on the text of the current member's value.
    pub(crate) fn asks_for_text(&self) -> bool {
        let mut tracks = self.tracks.iter().zip(self.fields.iter());
        tracks.any(|(track, field)| {
            let values = field.guard.iter().flat_map(|guard| &guard.values);
            let mut texts = values.filter(|value| matches!(value, GuardValue::Text(_)));
            track.on_guard && texts.next().is_some()
        })
    }

    /// The current member's value.
    pub(crate) fn judge(&mut self, value: Scalar<'_>) {
        for (track, field) in self.tracks.iter_mut().zip(self.fields.iter()) {
            let (true, Some(guard)) = (track.on_guard, &field.guard) else {
                continue;
            };
            let holds = guard.values.iter().any(|allowed| match (allowed, value) {
                (GuardValue::Integer(allowed), Scalar::Integer(value)) => *allowed == value,
                (GuardValue::Text(allowed), Scalar::Text(value)) => allowed.as_bytes() == value,
                (GuardValue::Integer(_) | GuardValue::Text(_), _) => false,
            });
            track.guard = match (holds, track.guard) {
                (false, _) => GuardState::Violated,
                (true, GuardState::Unseen) if track.exact => GuardState::Holds,
                (true, state) => state,
            };
        }
    }

    /// A value is over, and the member that it belongs to.
    pub(crate) fn value_end(&mut self) {
        for track in &mut self.tracks {
            track.leave_member();
        }
    }

    /// The fields whose value begins here.
    pub(crate) fn fields_here(&self) -> impl Iterator<Item = usize> {
        let depth = self.depth as usize;
        let fields = self.tracks.iter().zip(self.fields.iter()).enumerate();
        fields
            .filter(move |(_, (track, field))| track.on_path && field.path.len() == depth)
            .map(|(index, _)| index)
    }

    /// What is known so far of the guard of a field; a field without one is never in doubt.
    pub(crate) fn guard(&self, field: usize) -> GuardState {
        self.tracks
            .get(field)
            .map_or(GuardState::Violated, |track| track.guard)
    }

    /// The innermost container is an object.
    pub(crate) fn in_object(&self) -> bool {
        self.depth
            .checked_sub(1)
            .is_some_and(|top| self.objects & (1 << top) != 0)
    }

    /// No container is open.
    pub(crate) fn is_outside(&self) -> bool {
        self.depth == 0
    }
}

impl Track {
    fn new(field: &JsonField) -> Self {
        let guard = match field.guard {
            None => GuardState::Holds,
            Some(_) => GuardState::Unseen,
        };
        Self {
            matched: 0,
            on_path: false,
            on_guard: false,
            exact: false,
            guard,
        }
    }

    /// `parents`: containers round the object that the member stands in.
    fn enter_member(&mut self, field: &JsonField, parents: usize, name: &[u8]) {
        let next = field.path.get(parents);
        self.on_path = self.matched == parents && next.is_some_and(|next| next.as_bytes() == name);
        let guard = field.guard.as_ref().filter(|_| parents == 0);
        let spelled = |guard: &Guard| guard.member.as_bytes().eq_ignore_ascii_case(name);
        self.on_guard = guard.is_some_and(spelled);
        self.exact = guard.is_some_and(|guard| guard.member.as_bytes() == name);
    }

    fn leave_member(&mut self) {
        self.on_path = false;
        self.on_guard = false;
    }
}
