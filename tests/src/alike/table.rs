//! The clients, and what each needs.

use anyhow::Result;

use crate::{
    gateway::{openai, slack},
    library::{Runtime, Set, version},
    scenario::TOKEN,
    site::Versions,
};

/// A client with a script in its set's folder, that ends by itself.
#[derive(Debug)]
pub struct Client {
    pub name: &'static str,
    pub set: Set,
    pub(super) runtime: Runtime,
    pub(super) service: Service,
    /// That the server speaks. A client that is told `HTTP2` by the environment asks for it.
    pub(super) versions: Versions,
    /// Headers whose values a client makes up anew each time.
    pub(super) volatile: &'static [&'static str],
}

impl Client {
    /// The version that is pinned, of one that is.
    ///
    /// # Errors
    /// The pins cannot be read.
    pub fn version(&self) -> Result<Option<String>> {
        version(self.set, self.runtime, self.name)
    }
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

/// Routes of all kinds, with a secret in each place where HTTP has one: those of heads and those of bodies are of two
/// hosts, since a body that is looked through may change its framing.
const TOUR: Service = Service {
    hosts: &[
        "api.site.example",
        "away.site.example",
        "forms.site.example",
    ],
    secret: "a-secret-of-the-site-that-stays-outside-0123456789",
    bound: "bindings:
      - { hosts: [api.site.example], header: authorization }
      - { hosts: [api.site.example], header: x-api-key }
      - { hosts: [api.site.example], query: key }
      - { hosts: [api.site.example], path: \"/bot{secret}/\" }
      - { hosts: [forms.site.example], cookie: session }
      - { hosts: [forms.site.example], body.json: /login/token }
      - { hosts: [forms.site.example], body.form: token }
      - { hosts: [forms.site.example], body.multipart: token }
      - { hosts: [forms.site.example], body.text: text/plain }",
};

const GRPC: Service = Service {
    hosts: &["grpc.site.example"],
    secret: "a-secret-of-a-service-that-stays-outside-0123456789",
    bound: "profile: generic\n    hosts: [grpc.site.example]",
};

const DISCORD: Service = Service {
    hosts: &["discord.com"],
    secret: TOKEN,
    bound: "profile: discord",
};

const SLACK: Service = Service {
    hosts: &["slack.com", "files.slack.com"],
    secret: slack::BOT_TOKEN,
    bound: "profile: slack",
};

const OPENAI: Service = Service {
    hosts: &["api.openai.com"],
    secret: openai::KEY,
    bound: "profile: openai",
};

const ANTHROPIC: Service = Service {
    hosts: &["api.anthropic.com"],
    secret: "sk-ant-this-key-stays-outside-0123456789",
    bound: "profile: anthropic",
};

const GITHUB: Service = Service {
    hosts: &["github.com"],
    secret: "ghp_ThisOneStaysOutside0123456789abcdef",
    bound: "profile: github",
};

const NPM: Service = Service {
    hosts: &["registry.example.org"],
    secret: "npm_ThisOneStaysOutside0123456789abcdef",
    bound: "profile: generic\n    hosts: [registry.example.org]",
};

const PIP: Service = Service {
    hosts: &["packages.example.org"],
    secret: "pypi-ThisOneStaysOutside0123456789abcdef",
    bound: "profile: generic\n    hosts: [packages.example.org]",
};

const fn client(name: &'static str, set: Set, service: Service, runtime: Runtime) -> Client {
    Client {
        name,
        set,
        runtime,
        service,
        versions: Versions::Http1,
        volatile: &[],
    }
}

/// The same client, with a server that speaks HTTP/2 as well.
const fn in_http2(name: &'static str, client: Client) -> Client {
    Client {
        name,
        versions: Versions::Both,
        ..client
    }
}

const fn tour(name: &'static str, set: Set, runtime: Runtime) -> Client {
    client(name, set, TOUR, runtime)
}

const CURL: Client = tour("curl", Set::Web, Runtime::Shell("curl.sh"));
const HTTPX: Client = tour("httpx", Set::Web, Runtime::Python("tour-httpx.py"));

pub const CLIENTS: &[Client] = &[
    CURL,
    tour("node fetch", Set::Web, Runtime::Node("fetch.mjs")),
    tour("requests", Set::Web, Runtime::Python("tour-requests.py")),
    HTTPX,
    tour("aiohttp", Set::Web, Runtime::Python("tour-aiohttp.py")),
    in_http2("curl --http2", CURL),
    in_http2("httpx, HTTP/2", HTTPX),
    in_http2("tonic", client("", Set::Web, GRPC, Runtime::Own("grpc"))),
    tour("undici", Set::Further, Runtime::Node("tour-undici.mjs")),
    tour("axios", Set::Further, Runtime::Node("tour-axios.mjs")),
    tour("got", Set::Further, Runtime::Node("tour-got.mjs")),
    client(
        "discord.js",
        Set::Libraries,
        DISCORD,
        Runtime::Node("discord-rest.mjs"),
    ),
    client(
        "@slack/web-api",
        Set::Further,
        SLACK,
        Runtime::Node("slack-web-api.mjs"),
    ),
    client(
        "openai",
        Set::Further,
        OPENAI,
        Runtime::Node("openai-stream.mjs"),
    ),
    client(
        "@anthropic-ai/sdk",
        Set::Further,
        ANTHROPIC,
        Runtime::Node("anthropic-stream.mjs"),
    ),
    client("git", Set::Further, GITHUB, Runtime::Shell("git.sh")),
    Client {
        volatile: &["npm-session"],
        ..client("npm", Set::Further, NPM, Runtime::Shell("npm.sh"))
    },
    client("pip", Set::Further, PIP, Runtime::Shell("pip.sh")),
];
