//! Who ends a connection, and what still passes then.

use super::*;

#[tokio::test(start_paused = true)]
async fn closes_of_both_sides_pass_and_name_who_was_first() {
    for (by, code) in [(Side::Client, 3000), (Side::Server, 4004)] {
        let mut stage = stage();
        let payload = [&u16::to_be_bytes(code)[..], b"why"].concat();
        let from_client = client_frame(true, Opcode::Close, &payload);
        let from_server = server_frame(true, Opcode::Close, &payload);
        match by {
            Side::Client => {
                stage.client_sends(&from_client).await;
                assert_eq!(stage.server_sees().await, close_of(code, "why"));
                stage.server_sends(&from_server).await;
                assert_eq!(stage.client_sees().await, close_of(code, "why"));
            }
            Side::Server => {
                stage.server_sends(&from_server).await;
                assert_eq!(stage.client_sees().await, close_of(code, "why"));
                stage.client_sends(&from_client).await;
                assert_eq!(stage.server_sees().await, close_of(code, "why"));
            }
        }
        let end = stage.end().await.unwrap();
        assert_eq!(
            end,
            End::Closed {
                by,
                code: Some(code)
            }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn sockets_that_stay_open_behind_both_closes_are_not_kept_for_ever() {
    let mut stage = stage();
    stage
        .client_sends(&client_frame(true, Opcode::Close, &[]))
        .await;
    stage
        .server_sends(&server_frame(true, Opcode::Close, &[]))
        .await;
    let before = Instant::now();
    let end = (&mut stage.relay).await.unwrap().unwrap();
    assert_eq!(
        end,
        End::Closed {
            by: Side::Client,
            code: None
        }
    );
    assert!(before.elapsed() <= LINGER);
}

#[tokio::test(start_paused = true)]
async fn late_data_of_the_server_reaches_a_client_that_only_writes_no_more() {
    let mut stage = stage();
    stage
        .client_sends(&client_frame(true, Opcode::Text, b"last words"))
        .await;
    stage.client.shutdown().await.unwrap();
    assert_eq!(
        stage.server_sees().await,
        frame(Opcode::Text, b"last words")
    );
    assert_eq!(stage.server_sees().await, None, "the end is passed on");
    sleep(Duration::from_secs(5)).await;
    stage
        .server_sends(&server_frame(true, Opcode::Text, b"late"))
        .await;
    stage
        .server_sends(&server_frame(true, Opcode::Close, b"\x03\xe8"))
        .await;
    assert_eq!(stage.client_sees().await, frame(Opcode::Text, b"late"));
    assert_eq!(stage.client_sees().await, close_of(1000, ""));
    stage.server.shutdown().await.unwrap();
    assert_eq!(stage.client_sees().await, None);
    let end = stage.relay.await.unwrap().unwrap();
    assert_eq!(end, End::Vanished { by: Side::Client });
}

#[tokio::test(start_paused = true)]
async fn server_that_goes_on_is_heard_to_its_end_by_a_client_that_only_reads() {
    let mut stage = stage();
    stage.client.shutdown().await.unwrap();
    assert_eq!(stage.server_sees().await, None);
    for _ in 0..20 {
        sleep(LINGER / 2).await;
        stage
            .server_sends(&server_frame(true, Opcode::Text, b"more"))
            .await;
        assert_eq!(stage.client_sees().await, frame(Opcode::Text, b"more"));
    }
    let end = timeout(LINGER + GRACE, &mut stage.relay).await.unwrap();
    assert_eq!(end.unwrap().unwrap(), End::Vanished { by: Side::Client });
}

#[tokio::test(start_paused = true)]
async fn client_that_only_writes_is_heard_to_its_end_behind_the_servers_close() {
    let mut stage = stage();
    let close = server_frame(true, Opcode::Close, b"\x03\xe9");
    stage.server_sends(&close).await;
    stage.server.shutdown().await.unwrap();
    assert_eq!(stage.client_sees().await, close_of(1001, ""));
    assert_eq!(stage.client_sees().await, None);
    for _ in 0..20 {
        sleep(LINGER / 2).await;
        stage
            .client_sends(&client_frame(true, Opcode::Text, b"more"))
            .await;
        assert_eq!(stage.server_sees().await, frame(Opcode::Text, b"more"));
    }
    stage
        .client_sends(&client_frame(true, Opcode::Close, b"\x03\xe9"))
        .await;
    assert_eq!(stage.server_sees().await, close_of(1001, ""));
}

#[tokio::test(start_paused = true)]
async fn side_that_does_not_follow_an_end_is_cut_off() {
    let mut stage = stage();
    stage.server.shutdown().await.unwrap();
    assert_eq!(stage.client_sees().await, None);
    let end = timeout(LINGER + GRACE, &mut stage.relay).await.unwrap();
    assert_eq!(end.unwrap().unwrap(), End::Vanished { by: Side::Server });
}

#[tokio::test(start_paused = true)]
async fn refused_message_closes_the_client_with_1008_and_leaves_the_server() {
    for (key, reason) in [
        ("NOBODY", "credential_unavailable"),
        ("OTHER", "credential_endpoint_mismatch"),
    ] {
        let mut stage = stage();
        let token = format!("openshell:resolve:env:{key}");
        let frames = [
            client_frame(true, Opcode::Text, b"first"),
            client_frame(true, Opcode::Text, &identify_with(&token)),
            client_frame(true, Opcode::Text, b"never"),
        ];
        stage.client_sends(&frames.concat()).await;
        assert_eq!(stage.server_sees().await, frame(Opcode::Text, b"first"));
        assert_eq!(stage.server_sees().await, close_of(1001, ""));
        assert_eq!(stage.server_sees().await, None);
        assert_eq!(stage.client_sees().await, close_of(1008, reason));
        assert_eq!(stage.client_sees().await, None);
        let error = stage.end().await.unwrap_err();
        let refused = matches!(
            error,
            WebSocketError::Refused(Refusal::Unresolvable(
                Unresolvable::Unavailable | Unresolvable::BoundElsewhere
            ))
        );
        assert!(refused, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn close_of_ours_waits_for_the_end_of_the_servers_frame() {
    let mut stage = stage();
    let message = server_frame(true, Opcode::Text, b"a long story");
    let next = server_frame(true, Opcode::Text, b"not any more");
    stage.server_sends(&message[..5]).await;
    sleep(Duration::from_millis(1)).await;
    stage
        .client_sends(&client_frame(
            true,
            Opcode::Text,
            &identify_with("openshell:resolve:env:NO"),
        ))
        .await;
    assert_eq!(stage.server_sees().await, close_of(1001, ""));
    stage.server_sends(&[&message[5..], &next].concat()).await;
    assert_eq!(
        stage.client_sees().await,
        frame(Opcode::Text, b"a long story")
    );
    assert_eq!(
        stage.client_sees().await,
        close_of(1008, "credential_unavailable")
    );
    assert_eq!(stage.client_sees().await, None);
}

#[tokio::test(start_paused = true)]
async fn no_close_is_put_into_a_frame_that_does_not_end() {
    let mut stage = stage();
    let message = server_frame(true, Opcode::Text, b"a long story");
    stage.server_sends(&message[..5]).await;
    sleep(Duration::from_millis(1)).await;
    stage.shutdown.send(true).unwrap();
    let end = timeout(GRACE * 2, &mut stage.relay).await.unwrap();
    assert_eq!(end.unwrap().unwrap(), End::GoingAway);
    let mut got = Vec::new();
    stage.client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, message[..5]);
}

#[tokio::test(start_paused = true)]
async fn daemon_that_stops_closes_both_sides_with_1001() {
    let mut stage = stage();
    stage
        .client_sends(&client_frame(true, Opcode::Text, b"x"))
        .await;
    assert_eq!(stage.server_sees().await, frame(Opcode::Text, b"x"));
    stage.shutdown.send(true).unwrap();
    assert_eq!(stage.client_sees().await, close_of(1001, ""));
    assert_eq!(stage.server_sees().await, close_of(1001, ""));
    assert_eq!(stage.end().await.unwrap(), End::GoingAway);
}

#[tokio::test(start_paused = true)]
async fn dropped_shutdown_sender_means_never() {
    let mut stage = stage();
    stage.shutdown = watch::channel(false).0;
    stage
        .client_sends(&client_frame(true, Opcode::Text, b"x"))
        .await;
    assert_eq!(stage.server_sees().await, frame(Opcode::Text, b"x"));
}
