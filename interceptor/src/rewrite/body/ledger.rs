//! What one body may take, and what it took.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Refusal, head::Fixed};
use crate::{
    rewrite::{Unresolvable, append, matcher::Piece, release::Release},
    secrets::SecretName,
    stats::connection::Connection,
};

/// Kept by whatever reads the body.
pub(super) struct Ledger {
    pub(super) release: Arc<Release>,
    pub(super) stats: Arc<Connection>,
    fixed: Option<Fixed>,
    /// Secrets that the request may still take.
    left: usize,
    taken: usize,
}

impl Ledger {
    pub(super) fn new(
        release: Arc<Release>,
        stats: Arc<Connection>,
        fixed: Option<Fixed>,
        left: usize,
    ) -> Self {
        Self {
            release,
            stats,
            fixed,
            left,
            taken: 0,
        }
    }

    /// A placeholder goes on as text.
    pub(super) fn pass(&self) -> Result<(), Refusal> {
        Ok(self.release.pass_unbound(&self.stats)?)
    }

    /// Appends the next piece of a text. At a bound `place`, `find` finds the secret that takes a placeholder's place, and
    /// `write` writes it.
    pub(super) fn take_piece<P>(
        &mut self,
        piece: Piece<'_>,
        place: Option<P>,
        find: impl for<'r> FnOnce(&'r Release, P, &str) -> Option<(&'r SecretName, &'r [u8])>,
        write: impl FnOnce(&[u8], &mut Zeroizing<Vec<u8>>) -> Result<(), Unresolvable>,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), Refusal> {
        let (raw, key) = match piece {
            Piece::Text(text) => {
                append(text, out);
                return Ok(());
            }
            Piece::Placeholder { raw, key } => (raw, key),
        };
        let Some(place) = place else {
            self.pass()?;
            append(raw, out);
            return Ok(());
        };
        let Some((name, secret)) = find(&self.release, place, key) else {
            return Err(self.release.why_not(key).into());
        };
        if self.left == 0 {
            return Err(Unresolvable::TooMany.into());
        }
        write(secret, out)?;
        self.release.reflection().note(name, secret, raw);
        self.stats.count_rewrite(name);
        self.take(1)
    }

    /// These were put in by others.
    pub(super) fn spend(&mut self, used: &[SecretName]) -> Result<(), Refusal> {
        for name in used {
            self.stats.count_rewrite(name);
        }
        self.take(used.len())
    }

    /// So many secrets were put in, and counted.
    pub(super) fn take(&mut self, count: usize) -> Result<(), Refusal> {
        self.left = self.left.saturating_sub(count);
        self.taken += count;
        match self.fixed {
            Some(Fixed::Signed) if count > 0 => Err(Refusal::Signed),
            Some(Fixed::Ranged) if count > 0 => Err(Refusal::Ranged),
            Some(_) | None => Ok(()),
        }
    }

    /// Secrets that were put in.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The body goes on as it is, or not at all.
    pub(super) fn is_fixed(&self) -> bool {
        self.fixed.is_some()
    }
}
