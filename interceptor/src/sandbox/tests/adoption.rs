//! Sandboxes without a daemon, and with the next one.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::{House, address, outcome, request, start, until};
use crate::kernel::{
    Cgroup, Netns,
    fixtures::{Errand, Isolated, ScratchCgroup, Visitor},
};

/// It runs itself once more as the daemon.
const KILLED: &str = "sandbox::tests::adoption::kernel_a_killed_daemon_leaves_its_sandbox_closed_and_the_next_adopts_it";
const RUN_DIR: &str = "INTERCEPTOR_TEST_RUN_DIR";
const BPF_DIR: &str = "INTERCEPTOR_TEST_BPF_DIR";
const CGROUP: &str = "INTERCEPTOR_TEST_CGROUP";

async fn connect(cgroup: &Cgroup, netns: &Netns) -> (Visitor, Result<std::net::SocketAddr, i32>) {
    let errand = Errand::Connect(address("192.0.2.1:443"));
    outcome(Visitor::start(Some(cgroup), netns, errand)).await
}

/// The test's other life: the daemon that it kills.
async fn be_the_daemon(run_dir: OsString) {
    let variable = |name| std::env::var_os(name).expect("set with the run directory");
    let (registry, _recorder) = start(run_dir.as_ref(), variable(BPF_DIR).as_ref()).await;
    let hierarchy = crate::kernel::Hierarchy::find().unwrap();
    let cgroup = hierarchy.cgroup(variable(CGROUP).as_ref()).unwrap();
    registry.attach(request("micky", &cgroup)).await.unwrap();
    println!("attached");
    std::future::pending::<()>().await;
}

fn run_daemon(house: &House, cgroup: &Cgroup) -> Child {
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", KILLED])
        .env(RUN_DIR, house.run_dir.path())
        .env(BPF_DIR, house.pins.path())
        .env(CGROUP, cgroup.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(daemon.stdout.as_mut().unwrap()).lines();
    let attached = lines.map_while(Result::ok).any(|line| line == "attached");
    assert!(attached, "the daemon did not attach");
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_killed_daemon_leaves_its_sandbox_closed_and_the_next_adopts_it() {
    if let Some(run_dir) = std::env::var_os(RUN_DIR) {
        return be_the_daemon(run_dir).await;
    }
    let house = House::new("killed");
    let (cgroup, place) = (ScratchCgroup::new("killed"), Isolated::new());
    let mut daemon = run_daemon(&house, &cgroup);
    let (_served, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));

    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let (_refused, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Err(libc::ECONNREFUSED));

    let (registry, recorder) = house.start().await;
    let (visitor, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    let origin = until(|| recorder.served.lock().unwrap().pop()).await;
    assert_eq!(origin.process.tgid, visitor.pid());
    let reports = registry.list().await;
    assert_eq!(reports[0].name, "micky");
    assert_eq!(reports[0].netns[0].port, 61913);

    registry.detach("micky").await.unwrap();
    assert!(registry.list().await.is_empty());
    let (_open, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Err(libc::ENETUNREACH), "as without a sandbox");
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_sandbox_whose_cgroup_went_meanwhile_is_forgotten() {
    let house = House::new("went");
    let cgroup = ScratchCgroup::new("went");
    let (registry, _recorder) = house.start().await;
    let id = registry.attach(request("micky", &cgroup)).await.unwrap().id;
    registry.shutdown().await;
    drop(registry);
    cgroup.remove().unwrap();
    let pins = house.pinned_sandboxes().join(id.to_string());
    assert!(pins.exists());

    let (registry, _recorder) = house.start().await;
    assert!(registry.list().await.is_empty());
    assert!(!pins.exists());
    assert!(!house.run_dir.path().join("sandboxes/1.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_sandbox_without_its_state_stays_closed_until_detached() {
    let house = House::new("lost");
    let (cgroup, place) = (ScratchCgroup::new("lost"), Isolated::new());
    let (registry, _recorder) = house.start().await;
    let id = registry.attach(request("micky", &cgroup)).await.unwrap().id;
    registry.shutdown().await;
    drop(registry);
    std::fs::remove_dir_all(house.run_dir.path().join("sandboxes")).unwrap();

    let (registry, recorder) = house.start().await;
    let reports = registry.list().await;
    assert_eq!((reports[0].id, reports[0].name.as_str()), (id, "lost-1"));
    let (_visitor, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    until(|| recorder.served.lock().unwrap().pop()).await;
    registry.detach(&*id.to_string()).await.unwrap();
    let (_open, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Err(libc::ENETUNREACH));
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_missing_link_is_attached_again() {
    let house = House::new("link");
    let (cgroup, place) = (ScratchCgroup::new("link"), Isolated::new());
    let (registry, _recorder) = house.start().await;
    let id = registry.attach(request("micky", &cgroup)).await.unwrap().id;
    registry.shutdown().await;
    drop(registry);
    let pins = house.pinned_sandboxes().join(id.to_string());
    std::fs::remove_file(pins.join("connect4")).unwrap();

    let (registry, recorder) = house.start().await;
    assert!(pins.join("connect4").exists());
    let (_visitor, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    until(|| recorder.served.lock().unwrap().pop()).await;
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_detach_that_was_cut_short_is_undone() {
    let house = House::new("short");
    let (cgroup, place) = (ScratchCgroup::new("short"), Isolated::new());
    let (registry, _recorder) = house.start().await;
    let id = registry.attach(request("micky", &cgroup)).await.unwrap().id;
    // What a daemon leaves that is killed after the last program went and before the last pin did.
    registry.shutdown().await;
    registry.inner.programs.unlink_but_keep_pins(id);
    drop(registry);
    let (_open, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Err(libc::ENETUNREACH));

    let (registry, recorder) = house.start().await;
    let (_visitor, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    until(|| recorder.served.lock().unwrap().pop()).await;
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_sandbox_whose_path_has_changed_is_found_by_its_cgroup() {
    let house = House::new("moved");
    let (cgroup, place) = (ScratchCgroup::new("moved"), Isolated::new());
    let (registry, _recorder) = house.start().await;
    registry.attach(request("micky", &cgroup)).await.unwrap();
    registry.shutdown().await;
    drop(registry);
    let record = house.run_dir.path().join("sandboxes/1.json");
    let text = std::fs::read_to_string(&record).unwrap();
    let path = cgroup.path().to_str().unwrap();
    std::fs::write(&record, text.replace(path, "/mnt/cgroup/elsewhere")).unwrap();

    let (registry, _recorder) = house.start().await;
    assert_eq!(registry.list().await[0].cgroup, cgroup.path());
    let (_visitor, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_sandbox_is_not_opened_because_all_its_state_is_lost() {
    let house = House::new("all-lost");
    let (cgroup, place) = (ScratchCgroup::new("all-lost"), Isolated::new());
    let (registry, _recorder) = house.start().await;
    let id = registry.attach(request("micky", &cgroup)).await.unwrap().id;
    registry.inner.programs.forget_cgroup(id, cgroup.id());
    registry.shutdown().await;
    drop(registry);
    std::fs::remove_dir_all(house.run_dir.path().join("sandboxes")).unwrap();

    let (registry, _recorder) = house.start().await;
    assert_eq!(registry.list().await[0].id, id);
    let (_visitor, seen) = connect(&cgroup, place.netns()).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    registry.detach(&*id.to_string()).await.unwrap();
}
