//! The libraries, and what each needs.

use crate::{
    gateway::{openai, slack, telegram},
    scenario::TOKEN,
};

/// What is installed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// For the end-to-end tests.
    Libraries,
    /// Clients of HTTP alone, for the end-to-end tests.
    Web,
    /// For `cargo xtask clients` alone.
    Further,
}

/// A client with a script in its set's folder.
#[derive(Debug)]
pub struct Library {
    /// As its registry calls it.
    pub name: &'static str,
    pub set: Set,
    pub service: Service,
    pub(super) runtime: Runtime,
    /// Instead of the service's, where a library looks at the shape of a token.
    pub(super) placeholder: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Runtime {
    /// Programs that the machine has.
    Shell(&'static str),
    Node(&'static str),
    Python(&'static str),
    Built(&'static str),
    /// A program of this workspace, copied as it is needed.
    Own(&'static str),
}

/// What a library talks to, under our policy and profile for it.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub profile: &'static str,
    pub policy: &'static str,
    pub hosts: &'static [&'static str],
    pub secrets: &'static [Secret],
}

#[derive(Clone, Copy)]
pub struct Secret {
    pub name: &'static str,
    pub value: &'static str,
    pub placeholder: &'static str,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secret").field(&self.name).finish()
    }
}

impl Set {
    /// Of its folders, below `tests/clients` and `target`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Libraries => "libraries",
            Self::Web => "web",
            Self::Further => "further",
        }
    }

    /// Folders of its programs.
    pub(super) fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Libraries => &["libraries"],
            Self::Web => &["web"],
            // What leads through a site is shared.
            Self::Further => &["further", "web"],
        }
    }
}

const DISCORD: Service = Service {
    profile: "discord",
    policy: include_str!("../../../deploy/policies/discord.yaml"),
    hosts: &["gateway.discord.gg", "discord.com"],
    secrets: &[Secret {
        name: "DISCORD_BOT_TOKEN",
        value: TOKEN,
        placeholder: "openshell:resolve:env:DISCORD_BOT_TOKEN",
    }],
};

const SLACK: Service = Service {
    profile: "slack",
    policy: include_str!("../../../deploy/policies/slack.yaml"),
    hosts: &["slack.com", "wss-primary.slack.com"],
    secrets: &[
        Secret {
            name: "SLACK_BOT_TOKEN",
            value: slack::BOT_TOKEN,
            placeholder: "xoxb-OPENSHELL-RESOLVE-ENV-SLACK_BOT_TOKEN",
        },
        Secret {
            name: "SLACK_APP_TOKEN",
            value: slack::APP_TOKEN,
            placeholder: "xapp-OPENSHELL-RESOLVE-ENV-SLACK_APP_TOKEN",
        },
    ],
};

const OPENAI: Service = Service {
    profile: "openai",
    policy: include_str!("../../../deploy/policies/openai.yaml"),
    hosts: &["api.openai.com"],
    secrets: &[Secret {
        name: "OPENAI_API_KEY",
        value: openai::KEY,
        placeholder: "openshell:resolve:env:OPENAI_API_KEY",
    }],
};

const TELEGRAM: Service = Service {
    profile: "telegram",
    policy: include_str!("../../../deploy/policies/telegram.yaml"),
    hosts: &["api.telegram.org"],
    secrets: &[Secret {
        name: "TELEGRAM_BOT_TOKEN",
        value: telegram::TOKEN,
        placeholder: "openshell:resolve:env:TELEGRAM_BOT_TOKEN",
    }],
};

const fn library(name: &'static str, set: Set, service: Service, runtime: Runtime) -> Library {
    Library {
        name,
        set,
        service,
        runtime,
        placeholder: None,
    }
}

pub const ALL: &[Library] = &[
    library(
        "discord.js",
        Set::Libraries,
        DISCORD,
        Runtime::Node("discord-js.mjs"),
    ),
    library(
        "discord.py",
        Set::Libraries,
        DISCORD,
        Runtime::Python("discord-py.py"),
    ),
    Library {
        // It takes the bot's id from the token's first part.
        placeholder: Some("MTAwMDAwMDAwMDAwMDAwMDAwMQ.OPENSHELL-RESOLVE-ENV-DISCORD_BOT_TOKEN"),
        ..library(
            "hikari",
            Set::Further,
            DISCORD,
            Runtime::Python("hikari-bot.py"),
        )
    },
    library(
        "twilight-gateway",
        Set::Further,
        DISCORD,
        Runtime::Built("twilight-client"),
    ),
    library(
        "@slack/socket-mode",
        Set::Further,
        SLACK,
        Runtime::Node("socket-mode.mjs"),
    ),
    library(
        "@slack/rtm-api",
        Set::Further,
        SLACK,
        Runtime::Node("rtm-api.mjs"),
    ),
    library(
        "slack_sdk",
        Set::Further,
        SLACK,
        Runtime::Python("slack-sdk.py"),
    ),
    library(
        "openai",
        Set::Further,
        OPENAI,
        Runtime::Node("openai-realtime.mjs"),
    ),
    library(
        "grammy",
        Set::Further,
        TELEGRAM,
        Runtime::Node("grammy.mjs"),
    ),
    library(
        "python-telegram-bot",
        Set::Further,
        TELEGRAM,
        Runtime::Python("telegram-bot.py"),
    ),
];
