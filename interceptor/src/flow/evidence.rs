//! What the servers of one connection have shown to be whom they are.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    address::Host,
    error::chain,
    rewrite::standing::Revoked,
    tls::upstream::{Connector, Proof},
};

/// Different proofs for one name. Servers behind one name may have one each.
const MOST: usize = 16;

/// Holds as long as all of it holds. None where nobody vouches for the server.
#[derive(Debug, Default)]
pub(super) struct Evidence(Mutex<Vec<Arc<Proof>>>);

/// A server shows another certificate each time, which none has reason to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has shown more than {MOST} different certificates on one connection")]
pub(super) struct TooMuch;

impl Evidence {
    pub(super) fn of(proof: Arc<Proof>) -> Self {
        Self(Mutex::new(vec![proof]))
    }

    /// The server is another one from now on.
    pub(super) fn replace(&self, proof: Arc<Proof>) {
        *self.lock() = vec![proof];
    }

    /// There is one more server.
    pub(super) fn add(&self, proof: Arc<Proof>) -> Result<(), TooMuch> {
        let mut proofs = self.lock();
        if proofs.iter().any(|known| Arc::ptr_eq(known, &proof)) {
            return Ok(());
        }
        if proofs.len() >= MOST {
            return Err(TooMuch);
        }
        proofs.push(proof);
        Ok(())
    }

    /// Holds it against whom `connector` trusts.
    pub(super) fn hold(&self, connector: &Connector, host: &Host) -> Result<(), Revoked> {
        let proofs = self.lock();
        let mut held = proofs.iter().map(|proof| connector.verify(proof));
        held.try_for_each(std::convert::identity).map_err(|error| {
            let why = chain(&error);
            Revoked::Upstream(format!(
                "the upstream is not the verified owner of {host} any more: {why}"
            ))
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Proof>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
