//! What one connection may put where.

use std::sync::Arc;

use super::reflection::Reflection;
use crate::{
    address::VerifiedName,
    policy::binding::{JsonField, PathPlace, Surface, Unbound},
    secrets::{ReleaseGrant, Secret, SecretName},
    stats::connection::{Connection, Remark},
};

/// The secrets that are bound to one verified upstream, with their surfaces. Made once per connection.
#[derive(Debug)]
pub(crate) struct Release {
    /// `None`: nothing may be written, and `entries` is empty.
    grant: Option<ReleaseGrant>,
    entries: Vec<Entry>,
    /// Secrets that the sandbox has but that are bound to other hosts: named in refusals, never resolvable here.
    elsewhere: Vec<SecretName>,
    /// Where every secret is noted that is written.
    reflection: Arc<Reflection>,
    unbound: Unbound,
}

/// `unbound: refuse`, and a placeholder stands where nothing is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotBound;

#[derive(Debug)]
struct Entry {
    name: SecretName,
    secret: Secret,
    surfaces: Vec<Surface>,
}

/// One secret as `policy` selected it for a host.
#[derive(Debug)]
pub(crate) struct BoundSecret {
    pub(crate) name: SecretName,
    pub(crate) secret: Secret,
    pub(crate) surfaces: Vec<Surface>,
}

impl Release {
    /// `bound` are the sandbox's secrets whose bindings name `upstream`; `elsewhere` its other ones.
    pub(crate) fn new(
        upstream: &VerifiedName,
        bound: Vec<BoundSecret>,
        elsewhere: Vec<SecretName>,
    ) -> Self {
        let entries = bound
            .into_iter()
            .map(
                |BoundSecret {
                     name,
                     secret,
                     surfaces,
                 }| Entry {
                    name,
                    secret,
                    surfaces,
                },
            )
            .collect();
        Self {
            grant: Some(ReleaseGrant::for_upstream(upstream)),
            entries,
            elsewhere,
            reflection: Arc::default(),
            unbound: Unbound::default(),
        }
    }

    /// Notes what is written in `reflection`, which outlives this: a reload changes what may be written, not what was.
    pub(crate) fn noted_in(mut self, reflection: &Arc<Reflection>) -> Self {
        self.reflection = Arc::clone(reflection);
        self
    }

    /// For a connection whose server nobody vouches for, as on plain TCP.
    pub(crate) fn nothing() -> Self {
        Self {
            grant: None,
            entries: Vec::new(),
            elsewhere: Vec::new(),
            reflection: Arc::default(),
            unbound: Unbound::default(),
        }
    }

    /// The same with what happens to placeholders that stand where nothing is bound.
    pub(crate) fn with_unbound(self, unbound: Unbound) -> Self {
        Self { unbound, ..self }
    }

    /// Nothing can ever be resolved: the connection needs no scanning.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Some place of this connection may take the secret `name`.
    pub(crate) fn has(&self, name: &SecretName) -> bool {
        self.entries.iter().any(|entry| entry.name == *name)
    }

    /// What was written, and may come back.
    pub(crate) fn reflection(&self) -> &Arc<Reflection> {
        &self.reflection
    }

    /// Something may come back that has to become a placeholder again.
    pub(crate) fn redacts(&self) -> bool {
        !self.is_empty() && self.reflection.is_on()
    }

    /// The client's WebSocket messages have to be read.
    pub(crate) fn reads_messages(&self) -> bool {
        self.unbound != Unbound::Pass || self.websocket_fields().next().is_some()
    }

    /// Deals with a placeholder that stands where nothing is bound.
    ///
    /// # Errors
    /// What it stands in may not go on.
    pub(crate) fn pass_unbound(&self, stats: &Connection) -> Result<(), NotBound> {
        self.tolerate(stats)?;
        stats.count_placeholder_passed();
        Ok(())
    }

    /// Deals with a message that mentions a placeholder, in a format that is not known or too long to be read.
    ///
    /// # Errors
    /// It may not go on.
    pub(crate) fn pass_opaque(&self, stats: &Connection) -> Result<(), NotBound> {
        self.tolerate(stats)?;
        stats.count_opaque_message();
        Ok(())
    }

    fn tolerate(&self, stats: &Connection) -> Result<(), NotBound> {
        match self.unbound {
            Unbound::Pass => {}
            Unbound::Record => {
                if stats.remark(Remark::Unbound) {
                    tracing::warn!(
                        "a placeholder went out as text: it stands where its secret is not bound"
                    );
                }
            }
            Unbound::Refuse => return Err(NotBound),
        }
        Ok(())
    }

    /// The sandbox has a secret of this name, wherever it is bound.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.name.as_str() == key) || self.is_bound_elsewhere(key)
    }

    /// Some secret may stand in the header `name` (lower case).
    pub(crate) fn binds_header(&self, name: &str) -> bool {
        self.surfaces()
            .any(|surface| matches!(surface, Surface::Header(header) if **header == *name))
    }

    /// The secret `key` for the header `name` (lower case), if it is bound there.
    pub(crate) fn header(&self, name: &str, key: &str) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(surface, Surface::Header(header) if **header == *name),
        )
    }

    /// Every place in a request's path at which some secret may stand.
    pub(crate) fn path_places(&self) -> impl Iterator<Item = &PathPlace> {
        self.surfaces().filter_map(|surface| match surface {
            Surface::Path(place) => Some(place),
            Surface::Header(_) | Surface::Query(_) | Surface::WebSocketJson(_) => None,
        })
    }

    /// The secret `key` for a place in a request's path, if it is bound there.
    pub(crate) fn path(&self, place: &PathPlace, key: &str) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(surface, Surface::Path(bound) if bound == place),
        )
    }

    /// Some secret may stand in the parameter `name` of a request's query.
    pub(crate) fn binds_query(&self, name: &[u8]) -> bool {
        self.surfaces()
            .any(|surface| matches!(surface, Surface::Query(bound) if bound.as_bytes() == name))
    }

    /// The secret `key` for the parameter `name` of a request's query, if it is bound there.
    pub(crate) fn query(&self, name: &[u8], key: &str) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(surface, Surface::Query(bound) if bound.as_bytes() == name),
        )
    }

    /// The secret `key` for the JSON field `field` of a WebSocket text message, if it is bound there.
    pub(crate) fn websocket_json(
        &self,
        field: &JsonField,
        key: &str,
    ) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(surface, Surface::WebSocketJson(bound) if bound == field),
        )
    }

    /// Every JSON field of WebSocket text messages at which some secret may stand.
    pub(crate) fn websocket_fields(&self) -> impl Iterator<Item = &JsonField> {
        self.surfaces().filter_map(|surface| match surface {
            Surface::WebSocketJson(field) => Some(field),
            Surface::Header(_) | Surface::Path(_) | Surface::Query(_) => None,
        })
    }

    /// The sandbox has this secret, but it is bound to another host.
    pub(crate) fn is_bound_elsewhere(&self, key: &str) -> bool {
        self.elsewhere.iter().any(|name| name.as_str() == key)
    }

    fn surfaces(&self) -> impl Iterator<Item = &Surface> {
        self.entries.iter().flat_map(|entry| &entry.surfaces)
    }

    fn find(&self, key: &str, at: impl Fn(&Surface) -> bool) -> Option<(&SecretName, &[u8])> {
        let grant = self.grant.as_ref()?;
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.name.as_str() == key)?;
        entry
            .surfaces
            .iter()
            .any(at)
            .then(|| (&entry.name, entry.secret.reveal(grant)))
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod builder;
