//! Real containers, attached as operators know them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;
use tests::{
    capture::Capture,
    containers::{Census, Node, reject_all, rounds},
    gateway::record::Token,
    netns::Netns,
    scenario::Scenario,
};

/// Errors of errno(3).
const NOT_PERMITTED: i32 = 1;
const CONNECTION_REFUSED: i32 = 111;

#[test]
fn a_pod_behind_a_fence_that_rejects_everything_reaches_ready_and_nothing_else_gets_out()
-> Result<()> {
    let scenario = Scenario::discord()?;
    let (daemon, clients) = (&scenario.daemon, &scenario.clients);
    let node = Node::new(scenario.directory())?;
    let (netns, outside) = (Netns::new()?, Netns::new()?);
    netns.route_through(&outside)?;
    let _listener = outside.listen("10.231.7.1:443".parse()?)?;
    let pod = node.pod(netns)?;
    let around = clients.probe(&["connect", "10.231.7.1:443"]);
    // There is a way out, a fence closes it, and interceptor does not need it.
    pod.run(daemon, &around)?.event("connected")?;
    reject_all(pod.netns())?;
    let refused = pod.run(daemon, &around)?.event("refused")?;
    assert_eq!(refused["errno"], CONNECTION_REFUSED, "{refused}");
    assert!(!pod.run(daemon, &clients.node())?.status.success());

    pod.attach(daemon, "demo")?;
    let listed = daemon.json(&["sandboxes"])?;
    let identity = format!("pod {}", pod.uid());
    assert_eq!(listed[0]["identity"], identity.as_str(), "{listed}");
    let capture = Capture::start(pod.netns())?;
    let ready = pod.run(daemon, &clients.node())?.success()?;
    assert_eq!(ready.event("ready")?["user"], "micky");
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);

    let connect = [
        "connect",
        "10.231.7.1:443",
        "[fd00:231:7::1]:443",
        "10.231.7.1:22",
    ];
    for event in pod.run(daemon, &clients.probe(&connect))?.events() {
        // The daemon has it, and ends it.
        assert_eq!(event["event"], "connected", "{event}");
    }
    let datagram = clients.probe(&["datagram", "10.231.7.1:123"]);
    let sent = pod.run(daemon, &datagram)?;
    let errors: Vec<_> = sent
        .events()
        .iter()
        .filter_map(|event| event["errno"].as_i64())
        .collect();
    assert!(errors.contains(&NOT_PERMITTED.into()), "{}", sent.stdout);
    pod.run(daemon, &clients.sockets("out0"))?;
    let left: Vec<_> = capture
        .finish()?
        .into_iter()
        .filter(|packet| packet.device != "lo")
        .collect();
    assert_eq!(left, []);
    Ok(())
}

#[test]
fn ten_pods_start_run_and_end_at_once_twice_and_leave_nothing() -> Result<()> {
    let report = rounds::run(10, 2)?;
    println!("{report}");
    Ok(())
}

#[test]
fn a_container_is_attached_by_the_beginning_of_its_id_and_by_name() -> Result<()> {
    let scenario = Scenario::discord()?;
    let (daemon, clients) = (&scenario.daemon, &scenario.clients);
    let node = Node::new(scenario.directory())?.with_known_states();
    let pod = node.pod(Netns::new()?)?;
    let wait = ["cat".to_owned()];
    let one = pod.start(daemon, &wait)?;
    let name = format!("{}-named", pod.uid());
    let other = pod.start_as(&name, 65534, daemon, &wait)?;
    for container in [&one, &other] {
        for _ in 0..500 {
            if container.pid().is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    let pid = one.pid()?;
    for asked in [&one.id()[..62], other.id()] {
        let found = daemon.json(&["attach", "--name", "demo", "--container", asked])?;
        let cgroup = found["cgroup"].as_str().unwrap_or_default();
        assert!(cgroup.contains(asked), "{asked}: {found}");
        let identity = found["identity"].as_str().unwrap_or_default();
        assert!(identity.starts_with("container "), "{found}");
        assert!(
            identity.ends_with(&format!("of pod {}", pod.uid())),
            "{found}"
        );
        daemon.json(&["detach", "--container", asked])?;
    }
    let beginning = format!("{:08x}", std::process::id());
    let unclear = daemon.cli(&["attach", "--name", "demo", "--container", &beginning])?;
    assert!(!unclear.status.success());
    assert!(
        unclear.stderr.contains("is not clear"),
        "{}",
        unclear.stderr
    );
    assert!(unclear.stderr.contains(one.id()), "{}", unclear.stderr);

    // What is inside of a sandbox is neither a second one, nor opened by itself.
    pod.attach(daemon, "demo")?;
    let inside = daemon.cli(&["attach", "--name", "demo", "--pid", &pid.to_string()])?;
    assert!(
        inside.stderr.contains("overlaps with sandbox"),
        "{}",
        inside.stderr
    );
    let part = daemon.cli(&["detach", "--container", one.id()])?;
    assert!(
        part.stderr.contains("is a part of sandbox"),
        "{}",
        part.stderr
    );
    let listed = daemon.json(&["sandboxes"])?;
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(
        listed[0]["identity"],
        Value::from(format!("pod {}", pod.uid()))
    );
    // A container that starts in the pod now is as closed as those before.
    let ready = pod.run(daemon, &clients.node())?.success()?;
    ready.event("ready")?;
    Ok(())
}

/// What a hostile container does for a while: many processes that connect as fast as they can, and namespaces of its own.
const HOSTILE: &str = r#"
for i in $(seq 24); do
    unshare -Urn sh -c 'ip link set lo up; exec "$0" connect 192.0.2.1:443' "$0" &
done
for i in $(seq 12); do
    /usr/bin/python3 -c '
import socket
for _ in range(150):
    with socket.socket() as s:
        s.settimeout(2)
        try:
            s.connect(("192.0.2.1", 443))
        except OSError:
            pass
' &
done
echo begun
wait
"#;

#[test]
fn a_container_that_floods_and_makes_namespaces_harms_no_other_pod_and_leaves_nothing() -> Result<()>
{
    let scenario = Scenario::discord()?;
    let (daemon, clients) = (&scenario.daemon, &scenario.clients);
    let node = Node::new(scenario.directory())?;
    let before = Census::take(daemon)?;
    let (hostile, other) = (node.pod(Netns::new()?)?, node.pod(Netns::new()?)?);
    hostile.attach(daemon, "demo")?;
    other.attach(daemon, "demo")?;
    let mut arguments = vec!["sh".to_owned(), "-c".into(), HOSTILE.into()];
    arguments.extend(clients.probe(&[]));
    let mut flood = hostile.start(daemon, &arguments)?;
    let begun = |line: &str| (line == "begun").then_some(());
    flood.running()?.wait_for_line("begun", begun)?;
    let start = Instant::now();
    other
        .run(daemon, &clients.node())?
        .success()?
        .event("ready")?;
    println!(
        "READY beside a flood after {} ms",
        start.elapsed().as_millis()
    );
    assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);
    let listed = daemon.json(&["sandboxes"])?;
    for sandbox in listed.as_array().into_iter().flatten() {
        let namespaces = sandbox["netns"].as_array().map_or(0, Vec::len);
        assert!(namespaces <= 16, "{sandbox}");
    }
    flood.finish()?;
    hostile.remove()?;
    other.remove()?;
    before.wait_for_return(daemon)?;
    Ok(())
}
