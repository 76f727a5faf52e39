//! Attaching and detaching, and the lives of namespaces and cgroups.

use std::{fs, path::Path, time::Duration};

use super::{House, address, outcome, request, until};
use crate::{
    config::Existing,
    kernel::{
        Cgroup, Hierarchy, NetnsState,
        fixtures::{Errand, Isolated, ScratchCgroup, Visitor},
    },
    locate::Target,
    sandbox::{Attach, AttachError, DetachError, Which},
};

fn visitor(cgroup: &Cgroup, place: &Isolated) -> Visitor {
    let errand = Errand::Connect(address("192.0.2.1:443"));
    Visitor::start(Some(cgroup), place.netns(), errand)
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_namespaces_that_are_inhabited_have_listeners_when_attach_returns() {
    let house = House::new("inhabited");
    let (registry, _recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("inhabited"), Isolated::new());
    let (visitor, seen) = outcome(visitor(&cgroup, &place)).await;
    assert_eq!(seen, Err(libc::ENETUNREACH), "before attach");

    let report = registry
        .attach(Attach {
            name: "micky".to_owned(),
            target: Target::Pid(visitor.pid()),
            secrets: Vec::new(),
            existing: Existing::Destroy,
        })
        .await
        .unwrap();
    assert_eq!(report.cgroup, cgroup.path());
    assert_eq!(report.netns.len(), 1);
    assert_eq!(report.netns[0].cookie, place.netns().cookie());
    assert!(report.netns[0].private);
    assert!(
        report.warnings[0].contains("NET_ADMIN"),
        "root in a sandbox is not contained: {report:?}"
    );
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_sandbox_is_opened_by_what_it_was_made_from_and_not_by_a_part_of_it() {
    let house = House::new("opened");
    let (registry, _recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("opened");
    let below = cgroup.path().join("below");
    fs::create_dir(&below).unwrap();
    let at = |path: &Path| Which::At(Target::Cgroup(path.to_owned()));

    let error = registry.detach(at(cgroup.path())).await.unwrap_err();
    assert!(matches!(error, DetachError::NoSandbox(_)), "{error}");
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let error = registry.detach(at(&below)).await.unwrap_err();
    assert!(matches!(error, DetachError::Part { .. }), "{error}");
    assert_eq!(registry.list().await.len(), 1);
    registry.detach(at(cgroup.path())).await.unwrap();
    assert!(registry.list().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_what_cannot_be_a_sandbox_is_refused_and_nothing_is_left() {
    let house = House::new("refused");
    let (registry, _recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("refused");
    let below = cgroup.path().join("below");
    fs::create_dir(&below).unwrap();
    let hierarchy = Hierarchy::find().unwrap();
    let below = hierarchy.cgroup(&below).unwrap();
    let root = hierarchy.cgroup("/".as_ref()).unwrap();

    let error = registry.attach(request("micky", &root)).await.unwrap_err();
    assert!(matches!(error, AttachError::Root(_)), "{error}");
    let error = registry
        .attach(request("unknown", &cgroup))
        .await
        .unwrap_err();
    assert!(matches!(error, AttachError::Enroll(_)), "{error}");

    let threaded = cgroup.path().join("threaded");
    fs::create_dir(&threaded).unwrap();
    fs::write(threaded.join("cgroup.type"), "threaded").unwrap();
    let threaded = hierarchy.cgroup(&threaded).unwrap();
    let error = registry
        .attach(request("micky", &threaded))
        .await
        .unwrap_err();
    assert!(matches!(error, AttachError::Threaded(_)), "{error}");
    threaded.remove().unwrap();

    registry.attach(request("micky", &below)).await.unwrap();
    let error = registry
        .attach(request("minnie", &cgroup))
        .await
        .unwrap_err();
    assert!(matches!(error, AttachError::Overlaps { .. }), "{error}");
    let error = registry
        .attach(request("minnie", &below))
        .await
        .unwrap_err();
    assert!(matches!(error, AttachError::Already { .. }), "{error}");
    registry.detach("micky").await.unwrap();

    registry.attach(request("micky", &cgroup)).await.unwrap();
    let error = registry
        .attach(request("minnie", &below))
        .await
        .unwrap_err();
    assert!(matches!(error, AttachError::Overlaps { .. }), "{error}");
    registry.detach("micky").await.unwrap();
    let error = registry.detach("micky").await.unwrap_err();
    assert!(matches!(error, DetachError::Unknown(_)), "{error}");

    let pins = house.pinned_sandboxes();
    assert_eq!(fs::read_dir(pins).unwrap().count(), 0);
    let state = fs::read_dir(house.run_dir.path().join("sandboxes")).unwrap();
    let names: Vec<_> = state.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["last-id"]);
    assert!(registry.inner.programs.sandboxes().is_empty());
    assert!(registry.inner.programs.netns().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_the_daemon_does_not_capture_itself() {
    let house = House::new("itself");
    let (registry, _recorder) = house.start().await;
    let own = Hierarchy::find()
        .unwrap()
        .of_process(std::process::id())
        .unwrap();
    let error = registry.attach(request("micky", &own)).await.unwrap_err();
    let refused = matches!(error, AttachError::Root(_) | AttachError::HoldsDaemon(_));
    assert!(refused, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_sandboxes_of_one_name_are_detached_by_number() {
    let house = House::new("name");
    let (registry, _recorder) = house.start().await;
    let (first, second) = (ScratchCgroup::new("name-a"), ScratchCgroup::new("name-b"));
    let first = registry.attach(request("micky", &first)).await.unwrap();
    let second = registry.attach(request("micky", &second)).await.unwrap();
    let error = registry.detach("micky").await.unwrap_err();
    assert!(matches!(error, DetachError::Ambiguous(_)), "{error}");
    registry.detach(&*first.id.to_string()).await.unwrap();
    assert_eq!(registry.detach("micky").await.unwrap().id, second.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_seventeenth_namespace_is_refused_until_there_is_room() {
    let house = House::new("limit");
    let (registry, recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("limit");
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let places: Vec<_> = (0..17).map(|_| Isolated::new()).collect();
    let mut visitors = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let (visitor, seen) = outcome(visitor(&cgroup, place)).await;
        assert_eq!(seen.is_ok(), index < 16, "namespace {index}: {seen:?}");
        visitors.push(visitor);
    }
    let denial = until(|| recorder.denied.lock().unwrap().pop()).await;
    assert_eq!(denial.netns, places[16].netns().cookie());
    assert_eq!(registry.list().await[0].netns.len(), 16);
    // Refusals take room in a table that all sandboxes share.
    registry.inner.sweep().await;
    assert_eq!(registry.inner.programs.netns().len(), 16);

    drop(visitors.drain(..1));
    registry.inner.sweep().await;
    registry.inner.sweep().await;
    let (_visitor, seen) = outcome(visitor(&cgroup, &places[16])).await;
    assert!(seen.is_ok(), "{seen:?}");
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_namespace_whose_maker_has_gone_leaves_no_entry() {
    let house = House::new("passing");
    let (registry, _recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("passing"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let busy = registry.inner.state.lock().await;
    let visitor = visitor(&cgroup, &place);
    let known = || registry.inner.programs.netns().pop();
    until(known).await;
    drop(visitor);
    drop(busy);
    until(|| known().is_none().then_some(())).await;
    assert!(registry.list().await[0].netns.is_empty());
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_namespace_that_nobody_is_in_is_let_go() {
    let house = House::new("empty");
    let (registry, _recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("empty"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let (visitor, seen) = outcome(visitor(&cgroup, &place)).await;
    seen.unwrap();
    registry.inner.sweep().await;
    assert_eq!(registry.list().await[0].netns.len(), 1);

    drop(visitor);
    registry.inner.sweep().await;
    registry.inner.sweep().await;
    assert!(registry.list().await[0].netns.is_empty());
    assert!(registry.inner.programs.netns().is_empty());

    // It is met again as a new one.
    let (_visitor, seen) = outcome(self::visitor(&cgroup, &place)).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    assert_eq!(registry.list().await[0].netns.len(), 1);
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_sandbox_whose_cgroup_is_removed_is_forgotten() {
    let house = House::new("removed");
    let (registry, _recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("removed");
    let id = registry.attach(request("micky", &cgroup)).await.unwrap().id;
    cgroup.remove().unwrap();
    registry.inner.sweep().await;
    assert!(registry.list().await.is_empty());
    let pins = house.pinned_sandboxes().join(id.to_string());
    assert!(!pins.exists());
    assert!(registry.inner.programs.sandboxes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_cgroup_that_is_made_anew_is_attached_at_once() {
    let house = House::new("anew");
    let (registry, _recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("anew");
    let first = registry.attach(request("micky", &cgroup)).await.unwrap().id;
    cgroup.remove().unwrap();
    fs::create_dir(cgroup.path()).unwrap();
    let target = Target::Cgroup(cgroup.path().to_owned());
    let request = Attach {
        target,
        ..request("micky", &cgroup)
    };
    let second = registry.attach(request).await.unwrap().id;
    let standing = registry.list().await;
    assert_ne!(first, second);
    assert_eq!(
        standing.iter().map(|one| one.id).collect::<Vec<_>>(),
        [second]
    );
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_connect_is_held_until_its_listener_comes() {
    let house = House::new("held");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("held"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    // As if the daemon were busy with another namespace.
    let busy = registry.inner.state.lock().await;
    let visitor = visitor(&cgroup, &place);
    let pending = || {
        let known = registry.inner.programs.netns();
        let mut pending = known
            .into_iter()
            .filter(|(_, entry, _)| entry.state == NetnsState::Pending);
        pending.next()
    };
    until(pending).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(recorder.served.lock().unwrap().is_empty());
    drop(busy);
    let (_visitor, seen) = outcome(visitor).await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    until(|| recorder.served.lock().unwrap().pop()).await;
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_where_our_port_is_taken_another_one_serves() {
    let house = House::new("taken");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("taken"), Isolated::new());
    let _squatter = place.listen(61913);
    registry.attach(request("micky", &cgroup)).await.unwrap();
    // The first one was steered to the port that is taken, and its SYN is never let through.
    let lost = visitor(&cgroup, &place);
    let served = async || {
        let (_visitor, seen) = outcome(visitor(&cgroup, &place)).await;
        seen.is_ok()
    };
    let listening = || {
        let known = registry.inner.programs.netns();
        let mut ready = known.into_iter();
        ready.find(|(_, entry, _)| entry.state == NetnsState::Ready)
    };
    let (_, entry, _) = until(listening).await;
    assert_ne!(entry.port, 61913);
    assert!(served().await);
    let origin = until(|| recorder.served.lock().unwrap().pop()).await;
    assert_ne!(origin.process.tgid, lost.pid());
    registry.detach("micky").await.unwrap();
}
