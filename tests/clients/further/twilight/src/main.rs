//! A bot on twilight: says when it is ready, answers a message over REST, and logs out when standard input ends.

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use twilight_gateway::{CloseFrame, Event, EventTypeFlags, Intents, Shard, ShardId, StreamExt as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Neither of twilight's crates chooses one.
    let chosen = rustls::crypto::ring::default_provider().install_default();
    anyhow::ensure!(chosen.is_ok(), "there is a crypto provider already");
    let token = std::env::var("DISCORD_BOT_TOKEN")?;
    let http = twilight_http::Client::new(token.clone());
    let intents = Intents::GUILDS | Intents::GUILD_MESSAGES | Intents::MESSAGE_CONTENT;
    let mut shard = Shard::new(ShardId::ONE, token, intents);
    let mut input = tokio::io::stdin();
    let mut ended = false;
    loop {
        let mut byte = [0];
        let event = tokio::select! {
            event = shard.next_event(EventTypeFlags::all()) => event,
            read = input.read(&mut byte), if !ended => {
                ended = read? == 0;
                shard.close(CloseFrame::NORMAL);
                continue;
            }
        };
        match event {
            Some(Ok(Event::Ready(ready))) => {
                println!("{}", json!({"event": "ready", "user": ready.user.name}));
            }
            Some(Ok(Event::MessageCreate(message))) => {
                println!("{}", json!({"event": "message", "content": message.content}));
                let answer = http.create_message(message.channel_id).content("hello to you");
                let answer = answer.await?.model().await?;
                println!("{}", json!({"event": "answered", "content": answer.content}));
            }
            Some(Ok(Event::GatewayClose(_))) | None if ended => break,
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                println!("{}", json!({"event": "error", "message": error.to_string()}));
            }
            None => break,
        }
    }
    println!("{}", json!({"event": "closed"}));
    Ok(())
}
