//! A builder for tests of everything that releases secrets.

#![allow(
    clippy::unwrap_used,
    reason = "only tests and fuzzers are built with it"
)]

use zeroize::Zeroizing;

use super::{BoundSecret, Release};
use crate::{
    address::VerifiedName,
    policy::binding::{Guard, JsonField, PathPlace, Surface, Unbound},
    secrets::{Secret, SecretName},
};

/// What one connection may put where, told as a story.
#[derive(Default)]
pub(crate) struct Builder {
    bound: Vec<BoundSecret>,
    elsewhere: Vec<SecretName>,
    unbound: Unbound,
}

pub(crate) fn release() -> Builder {
    Builder::default()
}

/// `/d/token` of messages with `op` 2 or 6, as Discord's gateway has it.
pub(crate) fn discord_field() -> JsonField {
    JsonField {
        path: vec!["d".into(), "token".into()],
        guard: Some(Guard {
            member: "op".into(),
            values: vec![2.into(), 6.into()],
        }),
        limit: Some(4096),
    }
}

impl Builder {
    pub(crate) fn header(self, name: &str, secret: &[u8], headers: &[&str]) -> Self {
        let surfaces = headers
            .iter()
            .map(|header| Surface::Header((*header).into()));
        self.bind(name, secret, surfaces.collect())
    }

    pub(crate) fn path(self, name: &str, secret: &[u8], before: &str, after: &str) -> Self {
        let place = PathPlace {
            before: before.into(),
            after: after.into(),
        };
        self.bind(name, secret, vec![Surface::Path(place)])
    }

    pub(crate) fn query(self, name: &str, secret: &[u8], parameter: &str) -> Self {
        self.bind(name, secret, vec![Surface::Query(parameter.into())])
    }

    pub(crate) fn cookie(self, name: &str, secret: &[u8], cookie: &str) -> Self {
        self.bind(name, secret, vec![Surface::Cookie(cookie.into())])
    }

    /// `path`: member names with slashes between them.
    pub(crate) fn json_body(self, name: &str, secret: &[u8], path: &str) -> Self {
        let field = JsonField {
            path: path.split('/').map(Into::into).collect(),
            guard: None,
            limit: None,
        };
        self.bind(name, secret, vec![Surface::BodyJson(field)])
    }

    pub(crate) fn form(self, name: &str, secret: &[u8], field: &str) -> Self {
        self.bind(name, secret, vec![Surface::BodyForm(field.into())])
    }

    pub(crate) fn multipart(self, name: &str, secret: &[u8], field: &str) -> Self {
        self.bind(name, secret, vec![Surface::BodyMultipart(field.into())])
    }

    pub(crate) fn text(self, name: &str, secret: &[u8], media: &str) -> Self {
        self.bind(name, secret, vec![Surface::BodyText(media.into())])
    }

    pub(crate) fn surface(self, name: &str, secret: &[u8], surface: Surface) -> Self {
        self.bind(name, secret, vec![surface])
    }

    pub(crate) fn field(self, name: &str, secret: &[u8], field: JsonField) -> Self {
        self.bind(name, secret, vec![Surface::WebSocketJson(field)])
    }

    pub(crate) fn discord(self, name: &str, secret: &[u8]) -> Self {
        self.field(name, secret, discord_field())
    }

    pub(crate) fn elsewhere(mut self, name: &str) -> Self {
        self.elsewhere.push(name.parse().unwrap());
        self
    }

    pub(crate) fn unbound(mut self, unbound: Unbound) -> Self {
        self.unbound = unbound;
        self
    }

    pub(crate) fn build(self) -> Release {
        let upstream = VerifiedName::after_handshake("gateway.example".parse().unwrap());
        Release::new(&upstream, self.bound, self.elsewhere).with_unbound(self.unbound)
    }

    fn bind(mut self, name: &str, secret: &[u8], surfaces: Vec<Surface>) -> Self {
        let name: SecretName = name.parse().unwrap();
        if let Some(bound) = self.bound.iter_mut().find(|bound| bound.name == name) {
            bound.surfaces.extend(surfaces);
            return self;
        }
        self.bound.push(BoundSecret {
            name,
            secret: Secret::new(Zeroizing::new(secret.to_vec())).unwrap(),
            surfaces,
        });
        self
    }
}
