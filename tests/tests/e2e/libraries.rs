//! The libraries that most bots are written with.

use anyhow::{Context as _, Result};
use tests::library::{ALL, Libraries, Outcome, Set};

fn play(name: &str) -> Result<Outcome> {
    let library = ALL.iter().find(|library| library.name == name);
    Libraries::install(Set::Libraries)?.play(library.context("not in the table")?)
}

#[test]
fn discord_js_logs_in_answers_and_logs_out_and_never_holds_the_token() -> Result<()> {
    let outcome = play("discord.js")?;
    let [compression] = outcome.compression.as_slice() else {
        anyhow::bail!("{outcome:?}");
    };
    assert!(
        compression.starts_with("permessage-deflate"),
        "{compression}"
    );
    assert_eq!(outcome.closes, [Some(1000)]);
    Ok(())
}

#[test]
fn discord_py_logs_in_answers_and_logs_out_and_never_holds_the_token() -> Result<()> {
    let outcome = play("discord.py")?;
    assert_eq!(outcome.compression, ["compress=zlib-stream"]);
    assert_eq!(outcome.closes, [Some(4000)]);
    Ok(())
}
