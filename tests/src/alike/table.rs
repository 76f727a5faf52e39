//! The clients, and what each needs.

use crate::library::{Runtime, Set};

/// A client with a script in its set's folder, that ends by itself.
#[derive(Debug)]
pub struct Client {
    pub name: &'static str,
    pub set: Set,
    pub(super) runtime: Runtime,
    pub(super) service: Service,
    /// Headers whose values a client makes up anew each time.
    pub(super) volatile: &'static [&'static str],
}

/// What a client talks to.
#[derive(Clone, Copy)]
pub(super) struct Service {
    pub(super) hosts: &'static [&'static str],
    pub(super) secret: &'static str,
    /// How the secret is bound, in YAML.
    pub(super) bound: &'static str,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Service").field(&self.hosts).finish()
    }
}

/// Routes of all kinds, with a secret in each place where HTTP has one in a request's head.
const TOUR: Service = Service {
    hosts: &["api.site.example", "away.site.example"],
    secret: "a-secret-of-the-site-that-stays-outside-0123456789",
    bound: "bindings:
      - { hosts: [api.site.example], header: authorization }
      - { hosts: [api.site.example], header: x-api-key }
      - { hosts: [api.site.example], query: key }
      - { hosts: [api.site.example], path: \"/bot{secret}/\" }",
};

const fn tour(name: &'static str, set: Set, runtime: Runtime) -> Client {
    Client {
        name,
        set,
        runtime,
        service: TOUR,
        volatile: &[],
    }
}

pub const CLIENTS: &[Client] = &[
    tour("curl", Set::Web, Runtime::Shell("curl.sh")),
    tour("node fetch", Set::Web, Runtime::Node("fetch.mjs")),
    tour("requests", Set::Web, Runtime::Python("tour-requests.py")),
    tour("httpx", Set::Web, Runtime::Python("tour-httpx.py")),
    tour("aiohttp", Set::Web, Runtime::Python("tour-aiohttp.py")),
    tour("undici", Set::Further, Runtime::Node("tour-undici.mjs")),
    tour("axios", Set::Further, Runtime::Node("tour-axios.mjs")),
    tour("got", Set::Further, Runtime::Node("tour-got.mjs")),
];
