//! What one connection may put where.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{Unresolvable, reflection::Reflection};
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

/// JSON texts that have fields of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonTexts {
    /// WebSocket messages from the client.
    Messages,
    /// Bodies of requests.
    Bodies,
}

impl JsonTexts {
    fn field_of(self, surface: &Surface) -> Option<&JsonField> {
        match (self, surface) {
            (Self::Messages, Surface::WebSocketJson(field))
            | (Self::Bodies, Surface::BodyJson(field)) => Some(field),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    name: SecretName,
    secret: Secret,
    surfaces: Vec<Surface>,
    /// A reload took it away, and somebody still reads by this.
    withdrawn: AtomicBool,
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
                    withdrawn: AtomicBool::new(false),
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

    /// `next` takes its place. A body that is still read by this one takes no secret any more that `next` would not give.
    pub(crate) fn give_way(&self, next: &Self) {
        for entry in &self.entries {
            let mut others = next.entries.iter();
            let other = others.find(|other| other.name == entry.name);
            let stays = other.is_some_and(|other| {
                let mut surfaces = entry.surfaces.iter();
                surfaces.all(|surface| other.surfaces.contains(surface))
            });
            if !stays {
                entry.withdrawn.store(true, Relaxed);
            }
        }
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
        self.minds_unbound() || self.json_fields(JsonTexts::Messages).next().is_some()
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
            Surface::Header(_)
            | Surface::Query(_)
            | Surface::Cookie(_)
            | Surface::BodyJson(_)
            | Surface::BodyForm(_)
            | Surface::BodyMultipart(_)
            | Surface::BodyText(_)
            | Surface::WebSocketJson(_) => None,
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

    /// Some secret may stand in the cookie `name`.
    pub(crate) fn binds_cookie(&self, name: &[u8]) -> bool {
        self.surfaces()
            .any(|surface| matches!(surface, Surface::Cookie(bound) if bound.as_bytes() == name))
    }

    /// The secret `key` for the cookie `name`, if it is bound there.
    pub(crate) fn cookie(&self, name: &[u8], key: &str) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(surface, Surface::Cookie(bound) if bound.as_bytes() == name),
        )
    }

    /// Some secret may stand in the field `name` of a URL-encoded form.
    pub(crate) fn binds_form(&self, name: &[u8]) -> bool {
        self.surfaces()
            .any(|surface| matches!(surface, Surface::BodyForm(bound) if bound.as_bytes() == name))
    }

    /// The secret `key` for the field `name` of a URL-encoded form, if it is bound there.
    pub(crate) fn form(&self, name: &[u8], key: &str) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(surface, Surface::BodyForm(bound) if bound.as_bytes() == name),
        )
    }

    /// Some secret may stand in the field `name` of a multipart form.
    pub(crate) fn binds_multipart(&self, name: &[u8]) -> bool {
        self.surfaces().any(
            |surface| matches!(surface, Surface::BodyMultipart(bound) if bound.as_bytes() == name),
        )
    }

    /// The secret `key` for the field `name` of a multipart form, if it is bound there.
    pub(crate) fn multipart(&self, name: &[u8], key: &str) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(surface, Surface::BodyMultipart(bound) if bound.as_bytes() == name),
        )
    }

    /// Some secret may stand anywhere in a body of the media type `media`.
    pub(crate) fn binds_text(&self, media: &str) -> bool {
        self.surfaces()
            .any(|surface| matches!(surface, Surface::BodyText(bound) if **bound == *media))
    }

    /// The secret `key` for a body of the media type `media`, if it is bound there.
    pub(crate) fn text(&self, media: &str, key: &str) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(surface, Surface::BodyText(bound) if **bound == *media),
        )
    }

    /// Some bodies of requests have to be read.
    pub(crate) fn reads_bodies(&self) -> bool {
        let in_body = |surface: &Surface| match surface {
            Surface::BodyJson(_)
            | Surface::BodyForm(_)
            | Surface::BodyMultipart(_)
            | Surface::BodyText(_) => true,
            Surface::Header(_)
            | Surface::Path(_)
            | Surface::Query(_)
            | Surface::Cookie(_)
            | Surface::WebSocketJson(_) => false,
        };
        self.minds_unbound() || self.surfaces().any(in_body)
    }

    /// Some secret may stand in some URL-encoded form.
    pub(crate) fn has_forms(&self) -> bool {
        self.surfaces()
            .any(|surface| matches!(surface, Surface::BodyForm(_)))
    }

    /// Some secret may stand in some multipart form.
    pub(crate) fn has_multiparts(&self) -> bool {
        self.surfaces()
            .any(|surface| matches!(surface, Surface::BodyMultipart(_)))
    }

    /// A placeholder in a place to which nothing is bound is more than text.
    pub(crate) fn minds_unbound(&self) -> bool {
        self.unbound != Unbound::Pass
    }

    /// The secret `key` for the field `field` of such JSON texts, if it is bound there.
    pub(crate) fn json(
        &self,
        texts: JsonTexts,
        field: &JsonField,
        key: &str,
    ) -> Option<(&SecretName, &[u8])> {
        self.find(
            key,
            |surface| matches!(texts.field_of(surface), Some(bound) if bound == field),
        )
    }

    /// Every field of such JSON texts at which some secret may stand.
    pub(crate) fn json_fields(&self, texts: JsonTexts) -> impl Iterator<Item = &JsonField> {
        self.surfaces()
            .filter_map(move |surface| texts.field_of(surface))
    }

    /// Why the secret `key` was not found for a place to which something is bound.
    pub(crate) fn why_not(&self, key: &str) -> Unresolvable {
        if self.is_bound_elsewhere(key) {
            Unresolvable::BoundElsewhere
        } else {
            Unresolvable::Unavailable
        }
    }

    /// The sandbox has this secret, but it is bound to another host.
    fn is_bound_elsewhere(&self, key: &str) -> bool {
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
            .find(|entry| entry.name.as_str() == key && !entry.withdrawn.load(Relaxed))?;
        entry
            .surfaces
            .iter()
            .any(at)
            .then(|| (&entry.name, entry.secret.reveal(grant)))
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod builder;
