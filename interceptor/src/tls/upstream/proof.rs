//! What a server has shown to be taken for a name's owner: kept, since a reload can change whom we trust.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::UpstreamError;
use crate::address::Host;

/// A certificate with those that vouch for it, as they were shown for one name.
pub(crate) struct Proof {
    name: ServerName<'static>,
    chain: Vec<CertificateDer<'static>>,
    /// When it was shown, or its session resumed. It is judged as of then: TLS asks for no other one while a connection
    /// stands, and that certificates expire is no change of whom we trust.
    at: UnixTime,
    /// Who found it good last.
    good_for: Mutex<Weak<WebPkiServerVerifier>>,
}

/// The proofs that connections of one sandbox rest on. Those to the same server share one, which is judged once.
#[derive(Clone, Default)]
pub(super) struct Proofs(Arc<Mutex<HashMap<Host, Weak<Proof>>>>);

impl Proof {
    /// That nobody has judged.
    pub(super) fn of(
        name: ServerName<'static>,
        chain: Vec<CertificateDer<'static>>,
        at: UnixTime,
    ) -> Self {
        Self {
            name,
            chain,
            at,
            good_for: Mutex::default(),
        }
    }

    /// Judges it again, unless `verifier` has found it good already.
    pub(super) fn verify(&self, verifier: &Arc<WebPkiServerVerifier>) -> Result<(), UpstreamError> {
        let mut good_for = self.good_for.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = Arc::downgrade(verifier);
        if good_for.ptr_eq(&asked) {
            return Ok(());
        }
        let (first, others) = self
            .chain
            .split_first()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        verifier.verify_server_cert(first, others, &self.name, &[], self.at)?;
        *good_for = asked;
        Ok(())
    }
}

impl Proofs {
    /// Keeps what `verifier` has found good for `host` a moment ago.
    pub(super) fn keep(
        &self,
        host: &Host,
        name: ServerName<'static>,
        chain: &[CertificateDer<'static>],
        verifier: &Arc<WebPkiServerVerifier>,
    ) -> Arc<Proof> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = kept.get(host).and_then(Weak::upgrade);
        if let Some(same) = same.filter(|same| same.chain == chain) {
            return same;
        }
        let mut proof = Proof::of(name, chain.to_vec(), UnixTime::now());
        proof.good_for = Mutex::new(Arc::downgrade(verifier));
        let proof = Arc::new(proof);
        // As many as there are connections, at most.
        kept.retain(|_, proof| proof.strong_count() > 0);
        kept.insert(host.clone(), Arc::downgrade(&proof));
        proof
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            chain,
            at,
            good_for: _,
        } = self;
        f.debug_struct("Proof")
            .field("name", name)
            .field("certificates", &chain.len())
            .field("at", at)
            .finish_non_exhaustive()
    }
}
