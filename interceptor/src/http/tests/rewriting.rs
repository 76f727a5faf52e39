//! Secrets stand where they are bound, and nowhere else.

use super::peer::{HOST, OTHER, Rig, SECRET, TOKEN, rest};
use crate::{policy::binding::Unbound, rewrite::RELEASES_MAX, stats::connection::Remark};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_bound_field_carries_the_secret_and_all_else_is_untouched() {
    let request = |token: &str, other: &str| {
        format!(
            "POST /{other} HTTP/1.1\r\nhost: {HOST}\r\nAUTHORIZATION:  Bearer {token}\r\nX-Note: {other}\r\n\
             x-api-key:{token}\r\nContent-Length: {}\r\n\r\n{other}",
            other.len()
        )
    };
    let mut rig = Rig::new();
    rig.ask(request(TOKEN, TOKEN)).await;
    rig.server_gets(request(SECRET, TOKEN)).await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
    assert_eq!(rig.stats.facts().rewrites.values().sum::<u64>(), 2);
    assert_eq!(rig.stats.placeholders_passed(), 2);
}

#[tokio::test]
async fn bound_places_of_the_target_carry_the_secret() {
    let request = |place: &str, parameter: &str| {
        format!(
            "GET /bot{place}/getMe?x={TOKEN}&key={parameter} HTTP/1.1\r\nHost: {HOST}\r\nReferer: /bot{TOKEN}/\r\n\r\n"
        )
    };
    let mut rig = Rig::new();
    rig.ask(request(TOKEN, &TOKEN.replace(':', "%3A"))).await;
    rig.server_gets(request(SECRET, SECRET)).await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
    assert_eq!(rig.stats.facts().rewrites.values().sum::<u64>(), 2);
    assert_eq!(rig.stats.placeholders_passed(), 2);
}

#[tokio::test]
async fn fields_that_servers_echo_keep_their_placeholder_though_bound() {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nOrigin: {TOKEN}\r\nIdempotency-Key: {TOKEN}\r\n\
         Connection: x-api-key\r\nX-Api-Key: {TOKEN}\r\nSec-WebSocket-Protocol: {TOKEN}\r\n\r\n"
    );
    let mut rig = Rig::new();
    rig.pass(&request, OK).await;
    assert!(rig.stats.facts().rewrites.is_empty());
    assert_eq!(rig.stats.placeholders_passed(), 4);
}

#[tokio::test]
async fn unresolvable_placeholders_are_refused_by_name() {
    for (placeholder, status, error) in [
        (OTHER, 403, "credential_endpoint_mismatch"),
        (
            "openshell:resolve:env:NOBODYS",
            500,
            "credential_unavailable",
        ),
    ] {
        for head in [
            format!("GET / HTTP/1.1\r\nAuthorization: Bearer {placeholder}\r\n"),
            format!("GET /bot{placeholder}/ HTTP/1.1\r\n"),
            format!("GET /?key={placeholder} HTTP/1.1\r\n"),
        ] {
            let mut rig = Rig::new();
            rig.ask(format!("{head}Host: {HOST}\r\n\r\n")).await;
            assert_eq!(rig.refused().await, (status, error.to_owned()));
        }
    }
}

#[tokio::test]
async fn one_request_takes_a_bounded_number_of_secrets_over_all_its_fields() {
    let field = format!("x-api-key: {}\r\n", TOKEN.repeat(RELEASES_MAX / 2));
    let request = |fields| {
        format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n",
            field.repeat(fields)
        )
    };
    let mut rig = Rig::new();
    rig.ask(request(2)).await;
    rig.server_gets(request(2).replace(TOKEN, SECRET)).await;
    let mut rig = Rig::new();
    rig.ask(request(3)).await;
    assert_eq!(rig.refused().await, (403, "credential_count".to_owned()));
}

#[tokio::test]
async fn a_placeholder_beside_other_text_is_refused_as_what_it_is() {
    let mut rig = Rig::new();
    rig.ask(format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Digest a=\"{TOKEN}\", b=\"c\"\r\n\r\n"
    ))
    .await;
    let answer = rest(&mut rig.client).await;
    assert!(answer.contains("beside other text"), "{answer}");
}

#[tokio::test]
async fn unbound_placeholder_is_passed_recorded_or_refused_as_the_policy_says() {
    for head in [
        format!("GET / HTTP/1.1\r\nX-Note: {TOKEN}\r\n"),
        // Bound, but never put in there.
        format!("GET / HTTP/1.1\r\nOrigin: {TOKEN}\r\n"),
        format!("GET /?x={TOKEN} HTTP/1.1\r\n"),
        format!("GET /{OTHER} HTTP/1.1\r\n"),
    ] {
        let request = format!("{head}Host: {HOST}\r\n\r\n");
        for (unbound, remarked) in [(Unbound::Pass, false), (Unbound::Record, true)] {
            let mut rig = Rig::on_unbound(unbound);
            rig.pass(&request, OK).await;
            assert_eq!(rig.stats.placeholders_passed(), 1, "{head}");
            let facts = rig.stats.facts();
            assert_eq!(facts.remarks.contains(&Remark::Unbound), remarked, "{head}");
        }
        let mut rig = Rig::on_unbound(Unbound::Refuse);
        rig.ask(&request).await;
        let refused = rig.refused().await;
        assert_eq!(refused, (403, "credential_unbound".to_owned()), "{head}");
        assert_eq!(rig.stats.placeholders_passed(), 0, "{head}");
    }
    // No placeholder, though one begins so.
    let request = format!("GET /?key=openshell:resolve:env: HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    Rig::on_unbound(Unbound::Refuse).pass(&request, OK).await;
    let bound = |token| format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Api-Key: {token}\r\n\r\n");
    let mut rig = Rig::on_unbound(Unbound::Refuse);
    rig.ask(bound(TOKEN)).await;
    rig.server_gets(bound(SECRET)).await;
}
