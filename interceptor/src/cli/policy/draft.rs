//! What to write into `interceptor.yaml` for policy files.

use std::path::PathBuf;

use anyhow::Context;

use crate::{config::Import, policy::HostPattern};

/// What the variable of a profile's secret is usually called.
const KEYS: [(&str, &str); 6] = [
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("discord", "DISCORD_BOT_TOKEN"),
    ("github", "GITHUB_TOKEN"),
    ("openai", "OPENAI_API_KEY"),
    ("slack", "SLACK_BOT_TOKEN"),
    ("telegram", "TELEGRAM_BOT_TOKEN"),
];

pub(super) struct Draft<'a> {
    pub(super) import: &'a Import,
    pub(super) files: &'a [PathBuf],
    pub(super) sandbox: &'a str,
    pub(super) intercept: &'a [HostPattern],
}

impl Draft<'_> {
    pub(super) fn render(&self) -> anyhow::Result<String> {
        let Self {
            import,
            files,
            sandbox,
            intercept,
        } = self;
        let used = import.profiles();
        let keys: Vec<_> = KEYS
            .iter()
            .filter(|(profile, _)| used.contains(profile))
            .collect();
        let mut text = String::new();
        if !keys.is_empty() {
            text.push_str("secrets:\n");
        }
        for (profile, key) in &keys {
            text.push_str(&format!(
                "  {key}:\n    from: {{ file: secrets/{key} }}\n    profile: {profile}\n"
            ));
        }
        text.push_str(&format!("sandboxes:\n  - name: {}\n", quoted(sandbox)?));
        text.push_str("    policies:\n");
        for file in *files {
            // Wherever the configuration is put.
            let path = std::path::absolute(file)?;
            let path = path
                .to_str()
                .with_context(|| format!("{} is not UTF-8", path.display()))?;
            text.push_str(&format!("      - {}\n", quoted(path)?));
        }
        let keys: Vec<_> = keys.iter().map(|(_, key)| *key).collect();
        text.push_str(&format!("    secrets: [{}]\n", keys.join(", ")));
        if !intercept.is_empty() {
            text.push_str("    # `tls: skip` of these is overridden: TLS is opened.\n");
            text.push_str("    intercept:\n");
        }
        for host in *intercept {
            text.push_str(&format!("      - {}\n", quoted(&host.to_string())?));
        }
        let shut = import.shut();
        if !shut.is_empty() {
            text.push_str(
                "    # Tunnelled, as `tls: skip` says, so that no secret goes in there. To open TLS to them:\n",
            );
            if intercept.is_empty() {
                text.push_str("    # intercept:\n");
            }
        }
        for endpoint in shut {
            let host = endpoint.host.as_deref().unwrap_or_default();
            text.push_str(&format!("    #   - {}\n", quoted(host)?));
        }
        Ok(text)
    }
}

/// JSON's strings are strings of YAML, whatever is in them.
fn quoted(text: &str) -> anyhow::Result<String> {
    Ok(serde_json::to_string(text)?)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::config;

    /// What the configuration that is drafted for a preset means.
    fn drafted(intercept: &[&str]) -> (String, config::Snapshot) {
        let preset = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = [preset.join("../tests/presets/2026-04/discord.yaml")];
        let intercept: Vec<_> = intercept.iter().map(|host| host.parse().unwrap()).collect();
        let import = config::import(&files, "micky", &intercept).unwrap();
        let draft = Draft {
            import: &import,
            files: &files,
            sandbox: "micky",
            intercept: &intercept,
        };
        let text = draft.render().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("secrets")).unwrap();
        fs::write(folder.path().join("secrets/DISCORD_BOT_TOKEN"), "a.b.c").unwrap();
        let path = folder.path().join("interceptor.yaml");
        fs::write(&path, &text).unwrap();
        let snapshot = config::load(&path).unwrap();
        (text, snapshot)
    }

    #[test]
    fn what_is_drafted_loads_and_opens_only_what_it_was_told_to() {
        for (intercept, opened) in [(&[][..], false), (&["gateway.discord.gg"], true)] {
            let (text, snapshot) = drafted(intercept);
            let rules = snapshot.sandbox("micky").unwrap();
            let gateway = "gateway.discord.gg".parse().unwrap();
            let mut endpoints = rules.policy.endpoints().iter();
            let gateway = endpoints.find(|one| one.names(&gateway)).unwrap();
            assert_eq!(
                gateway.handling == crate::policy::Handling::Intercept,
                opened,
                "{text}"
            );
            assert_eq!(rules.secrets.len(), 1);
        }
    }

    #[test]
    fn a_tunnel_is_offered_to_be_opened_in_a_comment() {
        let (text, _) = drafted(&[]);
        assert!(
            text.ends_with("    # intercept:\n    #   - \"gateway.discord.gg\"\n"),
            "{text}"
        );
    }
}
