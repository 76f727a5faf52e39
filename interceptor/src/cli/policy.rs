//! `interceptor policy`

mod draft;

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;

use self::draft::Draft;
use super::{
    Json,
    output::{self, escape},
    table::{Column, Table},
};
use crate::{
    config::{self, Fate, Import, Imported},
    policy::{Enforcement, HostPattern},
};

const IMPORT_HELP: &str = "\
Reads OpenShell policies and NemoClaw presets as they are, and says of each endpoint whether connections are opened and \
secrets are put in (by one of the profiles that come with interceptor), only opened, tunnelled, or not supported and so \
denied; then of each field that is not acted upon what that means; and last what to write into interceptor.yaml. \
Nothing is changed, unless --output names a file that is not there yet.

A host that a file wants to be tunnelled (`tls: skip`) stays shut unless --intercept names it.

Exit codes: 0 everything is supported, 2 a file has a fault, 3 the files load, but an endpoint is not supported.

Examples:
  interceptor policy import discord.yaml
  interceptor policy import discord.yaml slack.yaml --sandbox micky --json
  interceptor policy import discord.yaml --intercept gateway.discord.gg --output interceptor.yaml";

/// Some endpoint is denied because it is not supported.
const UNSUPPORTED: u8 = 3;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Say what becomes of policy files, and what to write into interceptor.yaml for them
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// OpenShell policies and NemoClaw presets
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The sandbox that they are for; stands where a preset has `{sandboxName}`
    #[arg(long, default_value = "sandbox", value_name = "NAME")]
    sandbox: String,
    /// Open TLS to this host, in the very words of a file, though the file says `tls: skip`; may be given several times
    #[arg(long, value_name = "HOST")]
    intercept: Vec<HostPattern>,
    /// Write the configuration to this new file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(command: PolicyCommand) -> anyhow::Result<ExitCode> {
    let PolicyCommand::Import(args) = command;
    let import = config::import(&args.files, &args.sandbox, &args.intercept)?;
    let draft = Draft {
        import: &import,
        files: &args.files,
        sandbox: &args.sandbox,
        intercept: &args.intercept,
    };
    let draft = draft.render()?;
    if let Some(path) = &args.output {
        write_new(path, &draft)?;
    }
    if args.json.json {
        output::json(&view(&import, &draft))?;
    } else {
        let mut text = render(&import);
        match &args.output {
            Some(path) => text.push_str(&format!("\nwritten to {}\n", path.display())),
            None => {
                text.push_str("\nfor interceptor.yaml:\n\n");
                text.push_str(&draft);
            }
        }
        output::print(&text)?;
    }
    Ok(if import.is_supported() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNSUPPORTED)
    })
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn render(import: &Import) -> String {
    let mut table = Table::new(&[
        Column::Word("RULE"),
        Column::Word("BECOMES"),
        Column::Text("PROFILES"),
        Column::Word("REQUESTS"),
        Column::Text("PLACE"),
    ]);
    for endpoint in &import.endpoints {
        let Imported {
            at,
            rule,
            host: _,
            port: _,
            fate,
            profiles,
            enforcement,
        } = endpoint;
        table.row([
            rule.to_string(),
            becomes(*fate),
            match profiles.as_slice() {
                [] => "-".to_owned(),
                some => some.join(", "),
            },
            match (fate, enforcement) {
                (Fate::Rewrite | Fate::Intercept, enforcement) => word(*enforcement).to_owned(),
                (Fate::Tunnel | Fate::Tcp, _) => "not read".to_owned(),
                (Fate::Unsupported(_), _) => "-".to_owned(),
            },
            format!("{}:{}", at.file.display(), at.line),
        ]);
    }
    let mut text = table.render();
    text.push('\n');
    for report in &import.reports {
        text.push_str(&escape(&report.to_string()));
        text.push('\n');
    }
    for gap in &import.gaps {
        text.push_str(&format!("warning: {gap}\n"));
    }
    for endpoint in import.shut() {
        text.push_str(&escape(&offer(endpoint)));
        text.push('\n');
    }
    text
}

fn offer(shut: &Imported) -> String {
    let host = shut.host.as_deref().unwrap_or_default();
    format!(
        "{host} stays shut, as `tls: skip` says, so that no secret for {} goes in there, and a login with a \
         placeholder fails: to open it, list it under `intercept` of the sandbox (or import with --intercept {host})",
        shut.profiles.join(", "),
    )
}

fn becomes(fate: Fate) -> String {
    match fate {
        Fate::Rewrite => "intercept and rewrite".to_owned(),
        Fate::Intercept => "intercept".to_owned(),
        Fate::Tunnel => "tunnel".to_owned(),
        Fate::Tcp => "tunnel (raw TCP)".to_owned(),
        Fate::Unsupported(protocol) => format!("unsupported ({protocol}): denied"),
    }
}

fn word(enforcement: Enforcement) -> &'static str {
    match enforcement {
        Enforcement::Enforce => "enforce",
        Enforcement::Audit => "audit",
    }
}

/// For programs.
#[derive(Debug, Serialize)]
struct View<'a> {
    endpoints: Vec<EndpointView<'a>>,
    reports: Vec<String>,
    gaps: &'a [String],
    /// For interceptor.yaml.
    configuration: &'a str,
}

#[derive(Debug, Serialize)]
struct EndpointView<'a> {
    file: &'a Path,
    line: u32,
    column: u32,
    rule: &'a str,
    host: Option<&'a str>,
    port: u16,
    becomes: &'static str,
    description: String,
    profiles: &'a [&'static str],
    enforcement: &'static str,
    /// `intercept` would open it, and a profile put a secret in.
    overridable: bool,
}

fn view<'a>(import: &'a Import, configuration: &'a str) -> View<'a> {
    let endpoints = import.endpoints.iter().map(|endpoint| EndpointView {
        file: &endpoint.at.file,
        line: endpoint.at.line,
        column: endpoint.at.column,
        rule: &endpoint.rule,
        host: endpoint.host.as_deref(),
        port: endpoint.port,
        becomes: match endpoint.fate {
            Fate::Rewrite => "rewrite",
            Fate::Intercept => "intercept",
            Fate::Tunnel | Fate::Tcp => "tunnel",
            Fate::Unsupported(_) => "unsupported",
        },
        description: becomes(endpoint.fate),
        profiles: &endpoint.profiles,
        enforcement: word(endpoint.enforcement),
        overridable: endpoint.fate == Fate::Tunnel && !endpoint.profiles.is_empty(),
    });
    View {
        endpoints: endpoints.collect(),
        reports: import.reports.iter().map(ToString::to_string).collect(),
        gaps: &import.gaps,
        configuration,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(generation: &str, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../tests/presets/{generation}/{name}.yaml"))
    }

    #[test]
    fn a_shut_gateway_is_shown_with_the_way_to_open_it() {
        let path = preset("2026-04", "discord");
        let text = render(&config::import(std::slice::from_ref(&path), "micky", &[]).unwrap());
        let row = text
            .lines()
            .find(|line| line.starts_with("discord/gateway.discord.gg:443"))
            .unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        let place = format!("{}:21", path.display());
        assert_eq!(
            words,
            [
                "discord/gateway.discord.gg:443",
                "tunnel",
                "discord",
                "not",
                "read",
                &place
            ]
        );
        assert!(text.contains("or import with --intercept gateway.discord.gg"));
        assert!(text.contains("warning: clients of discord log in at *.discord.gg too"));
    }

    #[test]
    fn programs_get_a_word_for_each_endpoint() {
        let files = [preset("2026-04", "discord"), preset("2026-06", "tools")];
        let import = config::import(&files, "micky", &[]).unwrap();
        let view = serde_json::to_value(view(&import, "text")).unwrap();
        let endpoints = view["endpoints"].as_array().unwrap();
        let becomes: Vec<_> = endpoints
            .iter()
            .map(|one| one["becomes"].as_str())
            .collect();
        let expected = [
            "rewrite",
            "tunnel",
            "intercept",
            "intercept",
            "unsupported",
            "unsupported",
        ];
        assert_eq!(becomes, expected.map(Some));
        assert_eq!(endpoints[1]["overridable"], true);
        assert_eq!(endpoints[0]["overridable"], false);
        assert_eq!(view["configuration"], "text");
    }
}
