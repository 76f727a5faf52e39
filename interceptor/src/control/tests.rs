//! Server and client over real sockets. The backend is a double: what it decides is not under test here.

mod double;
mod listener;
mod wire;

use std::{os::unix::fs::PermissionsExt, sync::Arc, thread};

use http_body_util::BodyExt;
use hyper::Request;
use rustix::{process::Uid, thread::set_thread_res_uid};
use tempfile::TempDir;

use self::double::Double;
use super::{
    api::{AttachRequest, DetachRequest},
    client::{Client, ClientError},
    listener::ControlListener,
    metrics,
    server::Server,
};
use crate::{locate::Target, stats::Selection};

/// A running control interface in a directory of its own.
struct Control {
    run_dir: TempDir,
    backend: Arc<Double>,
    server: Option<Server>,
}

impl Control {
    fn start() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "the control interface is for root: run its tests as root"
        );
        let run_dir = run_dir();
        let backend = Arc::new(Double::default());
        let socket = ControlListener::bind(run_dir.path()).unwrap();
        let server = Server::start(socket, Arc::clone(&backend)).unwrap();
        Self {
            run_dir,
            backend,
            server: Some(server),
        }
    }

    fn client(&self) -> Client {
        Client::new(self.run_dir.path())
    }
}

/// A directory that others can enter, as /run/interceptor is.
fn run_dir() -> TempDir {
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap()
}

/// Runs `work` as user 65534. Only the calling thread changes its user.
fn as_nobody<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(|| {
        let nobody = Uid::from_raw(65534);
        set_thread_res_uid(nobody, nobody, nobody).unwrap();
        work()
    })
    .join()
    .unwrap()
}

fn attach(name: &str) -> AttachRequest {
    AttachRequest {
        name: name.into(),
        target: Target::Cgroup("/sys/fs/cgroup/agent".into()),
        keep_existing: false,
        secrets: vec!["DISCORD_BOT_TOKEN".into()],
    }
}

#[test]
fn attached_sandboxes_are_listed_until_detached() {
    let control = Control::start();
    let client = control.client();
    let attached = client.attach(&attach("micky")).unwrap();
    assert_eq!(attached.name, "micky");
    assert_eq!(attached.secret_keys, ["DISCORD_BOT_TOKEN"]);
    assert_eq!(client.sandboxes().unwrap(), std::slice::from_ref(&attached));
    assert_eq!(
        client
            .detach(&DetachRequest::Sandbox("micky".into()))
            .unwrap(),
        attached
    );
    assert!(client.sandboxes().unwrap().is_empty());
}

#[test]
fn every_question_gets_its_answer() {
    let control = Control::start();
    let client = control.client();
    assert_eq!(client.connections(false).unwrap().len(), 1);
    assert_eq!(client.connections(true).unwrap().len(), 2);
    assert_eq!(client.stats().unwrap().counts.kernel["connects"], 3);
    assert_eq!(client.reload().unwrap().changed, ["secret A: new value"]);
    let events = |sandbox: Option<&str>, after| {
        let selection = Selection {
            sandbox: sandbox.map(str::to_owned),
            after,
            ..Selection::default()
        };
        client.events(&selection).unwrap().len()
    };
    assert_eq!((events(None, None), events(None, Some(0))), (2, 0));
    // Whatever a sandbox is called.
    assert_eq!(
        (events(Some("a b&c"), None), events(Some("a"), None)),
        (1, 0)
    );
    assert_eq!(client.info().unwrap().version, "1.2.3");
}

#[test]
fn where_a_follower_goes_on_is_told_apart_by_daemon() {
    let control = Control::start();
    let client = control.client();
    let own = std::process::id();
    let events = |seen: &[(u32, u64)]| {
        let selection = Selection {
            seen: seen.iter().copied().collect(),
            ..Selection::default()
        };
        client.events(&selection).unwrap()
    };
    // They could still change, where somebody goes on behind them.
    assert_eq!(events(&[(own, 0)]), []);
    let all = events(&[(own - 1, 0), (own + 1, 0)]);
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|event| event.daemon == own), "{all:?}");
}

#[tokio::test]
async fn metrics_are_totals_and_cost_no_list_of_events() {
    let backend = Double::default();
    let request = Request::get("/metrics").body(()).unwrap();
    let answer = metrics::answer(&backend, &request).await;
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let text = str::from_utf8(&text).unwrap();
    let counted = "interceptor_counted_total{counter=\"connects\"} 3\n";
    assert!(text.contains(counted), "{text}");
    assert!(!backend.has_listed_events());
}

#[test]
fn refusals_keep_their_words_and_lines() {
    let control = Control::start();
    let client = control.client();

    let error = client
        .detach(&DetachRequest::Sandbox("nobody".into()))
        .unwrap_err();
    assert_eq!(error.to_string(), "no sandbox nobody");
    assert!(!error.is_invalid());

    control.backend.break_configuration();
    let error = client.reload().unwrap_err();
    assert!(error.is_invalid());
    assert_eq!(
        error.detail(),
        [
            "interceptor.yaml:3:1: unknown key",
            "interceptor.yaml:9:5: no such file"
        ]
    );
}

#[test]
fn a_panicking_backend_answers_with_an_error_and_serves_on() {
    let control = Control::start();
    let error = control.client().attach(&attach("panic")).unwrap_err();
    assert!(
        error.to_string().contains("did not come to its end"),
        "{error}"
    );
    assert!(control.client().sandboxes().unwrap().is_empty());
}

#[test]
fn without_a_daemon_the_client_says_how_to_start_one() {
    let run_dir = run_dir();
    let expected = format!(
        "no daemon answers at {}/control.sock: start it with `interceptor run`",
        run_dir.path().display()
    );
    let error = Client::new(run_dir.path()).sandboxes().unwrap_err();
    assert_eq!(error.to_string(), expected);

    // A killed daemon leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(run_dir.path().join("control.sock")).unwrap());
    let error = Client::new(run_dir.path()).sandboxes().unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_socket_lets_nobody_but_root_connect() {
    let control = Control::start();
    let client = control.client();
    let error = as_nobody(move || client.sandboxes().unwrap_err());
    assert!(matches!(error, ClientError::NotRoot(_)), "{error:?}");
}

#[test]
fn a_peer_that_is_not_root_is_refused_even_where_the_socket_lets_it_connect() {
    let control = Control::start();
    let socket = control.run_dir.path().join("control.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let client = control.client();
    let error = as_nobody(move || client.attach(&attach("evil")).unwrap_err());
    assert!(
        matches!(error, ClientError::NoAnswer(_) | ClientError::Exchange(_)),
        "{error:?}"
    );
    assert!(control.client().sandboxes().unwrap().is_empty());
}

#[test]
fn a_stopped_server_takes_its_socket_along_after_answering_what_is_under_way() {
    let mut control = Control::start();
    let client = control.client();
    let backend = Arc::clone(&control.backend);
    let pending = thread::spawn(move || client.attach(&attach("slow")));
    backend.wait_until_attaching();
    let server = control.server.take();
    let stopping = thread::spawn(move || drop(server));
    backend.let_attach_finish();
    assert_eq!(pending.join().unwrap().unwrap().name, "slow");
    stopping.join().unwrap();
    assert!(!control.run_dir.path().join("control.sock").exists());
}
