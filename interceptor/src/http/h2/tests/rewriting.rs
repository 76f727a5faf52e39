//! What becomes of placeholders.

use http::{HeaderMap, HeaderValue, Request};

use super::peer::{Rig, get, noting, to};
use crate::{
    http::{
        h2::request::decide,
        tests::peer::{HOST, OTHER, SECRET, TOKEN},
    },
    policy::{Judgement, binding::Unbound},
    stats::connection::Remark,
};

fn with(path: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = get(path);
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    request
}

#[tokio::test]
async fn bound_places_carry_the_secret_and_others_their_placeholder() {
    let mut rig = Rig::new().await;
    let path = format!("/bot{TOKEN}/getMe?x={TOKEN}&key={TOKEN}");
    let bearer = format!("Bearer {TOKEN}");
    let request = with(
        &path,
        &[
            ("authorization", &bearer),
            ("x-note", TOKEN),
            ("origin", TOKEN),
        ],
    );
    let seen = rig.pass(request).await;
    assert_eq!(
        seen.uri().path_and_query().unwrap().as_str(),
        format!("/bot{SECRET}/getMe?x={TOKEN}&key={SECRET}")
    );
    let authorization = &seen.headers()["authorization"];
    assert_eq!(authorization, &format!("Bearer {SECRET}"));
    assert_eq!(seen.headers()["x-note"], TOKEN);
    assert_eq!(seen.headers()["origin"], TOKEN);
    assert_eq!(rig.stats.facts().rewrites.values().sum::<u64>(), 3);
    assert_eq!(rig.stats.placeholders_passed(), 3);
}

#[test]
fn a_secret_is_kept_in_no_table_of_hpack() {
    let (exchange, _, _) = noting(Box::new(|_| Judgement::Allow));
    let (head, ()) = with("/", &[("x-api-key", TOKEN), ("x-note", "b")]).into_parts();
    let allowed = decide(head, true, &exchange).ok().unwrap();
    assert!(allowed.head.headers()["x-api-key"].is_sensitive());
    assert!(!allowed.head.headers()["x-note"].is_sensitive());
}

#[tokio::test]
async fn each_crumb_of_a_cookie_is_a_value() {
    let mut rig = Rig::new().await;
    let crumb = format!("session={TOKEN}");
    let request = with(
        "/",
        &[("cookie", "a=b"), ("cookie", &crumb), ("cookie", "c=d")],
    );
    let seen = rig.pass(request).await;
    let crumbs: Vec<_> = seen.headers().get_all("cookie").iter().collect();
    assert_eq!(crumbs, ["a=b", &format!("session={SECRET}"), "c=d"]);
}

#[tokio::test]
async fn unresolvable_placeholders_are_refused_and_the_connection_goes_on() {
    let mut rig = Rig::new().await;
    for (placeholder, status, error) in [
        (OTHER, 403, "credential_endpoint_mismatch"),
        (
            "openshell:resolve:env:NOBODYS",
            500,
            "credential_unavailable",
        ),
    ] {
        let bearer = format!("Bearer {placeholder}");
        for request in [
            with("/", &[("authorization", &bearer)]),
            get(&format!("/bot{placeholder}/")),
            get(&format!("/?key={placeholder}")),
        ] {
            assert_eq!(rig.refused(request).await, (status, error.to_owned()));
            assert_eq!(rig.denied.lock().unwrap().pop(), Some(error));
        }
    }
    rig.pass(get("/")).await;
}

#[tokio::test]
async fn unbound_placeholder_is_passed_recorded_or_refused_as_the_policy_says() {
    let requests = || {
        [
            with("/", &[("x-note", TOKEN)]),
            with("/", &[("origin", TOKEN)]),
            get(&format!("/?x={TOKEN}")),
        ]
    };
    for (unbound, remarked) in [(Unbound::Pass, false), (Unbound::Record, true)] {
        for request in requests() {
            let mut rig = Rig::on_unbound(unbound).await;
            rig.pass(request).await;
            assert_eq!(rig.stats.placeholders_passed(), 1);
            let facts = rig.stats.facts();
            assert_eq!(facts.remarks.contains(&Remark::Unbound), remarked);
        }
    }
    let mut rig = Rig::on_unbound(Unbound::Refuse).await;
    for request in requests() {
        let refused = rig.refused(request).await;
        assert_eq!(refused, (403, "credential_unbound".to_owned()));
    }
}

#[tokio::test]
async fn trailers_keep_the_placeholders_in_them() {
    let mut rig = Rig::new().await;
    let (_response, mut upload) = rig.begin(super::peer::post()).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("authorization", TOKEN.parse().unwrap());
    upload.send_trailers(trailers.clone()).unwrap();
    let mut asked = rig.asked().await;
    let body = asked.request.body_mut();
    assert_eq!(super::peer::all(body).await.unwrap(), b"");
    assert_eq!(body.trailers().await.unwrap(), Some(trailers));
}

#[tokio::test]
async fn nothing_is_put_in_for_another_host() {
    let mut rig = Rig::new().await;
    let mut request = to("https://evil.example/");
    request
        .headers_mut()
        .insert("x-api-key", TOKEN.parse().unwrap());
    assert_eq!(
        rig.refused(request).await,
        (421, "authority_mismatch".to_owned())
    );
    assert!(rig.stats.facts().rewrites.is_empty());
    // The host field of a request that names this host in `:authority`.
    let mut request = get("/");
    request
        .headers_mut()
        .insert("host", "evil.example".parse().unwrap());
    assert_eq!(
        rig.refused(request).await,
        (400, "malformed_request".to_owned())
    );
    let mut request = get("/");
    let host = format!("{HOST}:443");
    request.headers_mut().insert("host", host.parse().unwrap());
    rig.pass(request).await;
}
