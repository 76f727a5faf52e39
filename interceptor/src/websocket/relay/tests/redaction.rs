//! What the server repeats of a secret.

use super::*;

#[tokio::test(start_paused = true)]
async fn secret_that_the_server_repeats_becomes_its_placeholder_again() {
    let mut stage = stage();
    let repeated = format!(r#"{{"error":"bad token {SECRET}"}}"#);
    let echo = server_frame(true, Opcode::Text, repeated.as_bytes());
    stage.server_sends(&echo).await;
    assert_eq!(
        stage.client_sees().await,
        frame(Opcode::Text, repeated.as_bytes()),
        "nothing was written yet"
    );
    let login = client_frame(true, Opcode::Text, &identify_with(PLACEHOLDER));
    stage.client_sends(&login).await;
    let seen = stage.server_sees().await;
    assert_eq!(seen, frame(Opcode::Text, &identify_with(SECRET)));
    stage.server_sends(&echo).await;
    let told = repeated.replace(SECRET, PLACEHOLDER);
    assert_eq!(
        stage.client_sees().await,
        frame(Opcode::Text, told.as_bytes())
    );
    assert_eq!(stage.stats.redactions(), 1);
}

#[tokio::test(start_paused = true)]
async fn server_that_streams_slowly_is_heard_while_secrets_are_looked_for() {
    let mut stage = stage();
    let login = client_frame(true, Opcode::Text, &identify_with(PLACEHOLDER));
    stage.client_sends(&login).await;
    stage.server_sees().await;
    let line = server_frame(false, Opcode::Text, b"a line, MTIz.re");
    stage.server_sends(&line).await;
    let seen = timeout(REST * 2, stage.client_sees()).await;
    assert_eq!(seen.unwrap(), frame(Opcode::Text, b"a line, "));
    let line = server_frame(false, Opcode::Continuation, b"al.token!");
    stage.server_sends(&line).await;
    let seen = timeout(REST * 2, stage.client_sees()).await;
    let told = format!("{PLACEHOLDER}!");
    assert_eq!(seen.unwrap(), frame(Opcode::Continuation, told.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn server_whose_message_cannot_be_searched_is_left_with_1007() {
    let mut stage = stage();
    let login = client_frame(true, Opcode::Text, &identify_with(PLACEHOLDER));
    stage.client_sends(&login).await;
    stage.server_sees().await;
    let mut damaged = server_frame(true, Opcode::Text, b"\xff\xff");
    damaged[0] |= RSV1;
    stage.server_sends(&damaged).await;
    let seen = stage.client_sees().await;
    assert_eq!(seen, close_of(1007, "compressed_message_malformed"));
    assert!(matches!(
        stage.end().await,
        Err(WebSocketError::Unreadable(Fault::Corrupt))
    ));
}
