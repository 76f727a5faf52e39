"""What the parts of deploy/ say of each other, and of the daemon."""

import json
import re

from parts import Skip, run


def kept_capabilities(deploy):
    source = deploy.text("interceptor/src/kernel/credentials.rs")
    body = re.search(r"fn needed\(\) -> CapabilitySet \{(.*?)\n\}", source, re.DOTALL).group(1)
    return set(re.findall(r"CapabilitySet::([A-Z_]+)", body))


def test_the_daemon_gets_the_capabilities_that_it_keeps_and_no_others(deploy):
    kept = kept_capabilities(deploy)
    assert len(kept) >= 5, kept
    capabilities = deploy.container["securityContext"]["capabilities"]
    assert capabilities["drop"] == ["ALL"] and set(capabilities["add"]) == kept, capabilities
    assert not deploy.container["securityContext"].get("privileged")
    assert deploy.compose["cap_drop"] == ["ALL"] and set(deploy.compose["cap_add"]) == kept
    assert not deploy.compose.get("privileged")
    unit = {name.removeprefix("CAP_") for name in deploy.unit["CapabilityBoundingSet"].split()}
    assert unit == kept, unit


def test_two_daemons_fit_on_a_node_during_an_upgrade(deploy):
    update = deploy.one("DaemonSet", "interceptor")["spec"]["updateStrategy"]["rollingUpdate"]
    assert update == {"maxSurge": 1, "maxUnavailable": 0}, update
    # With the host's network each port of a container is one of the host.
    assert not deploy.pod.get("hostNetwork")
    assert all("hostPort" not in port for port in deploy.container["ports"])
    assert "--takeover" in deploy.container["args"]


def test_a_drain_fits_into_the_time_that_a_pod_has_to_end(deploy):
    (drain,) = [arg for arg in deploy.container["args"] if arg.startswith("--drain=")]
    seconds = int(re.fullmatch(r"--drain=(\d+)m", drain).group(1)) * 60
    # SIGTERM comes at its beginning. Beside it: what connections have to say goodbye.
    assert deploy.pod["terminationGracePeriodSeconds"] >= seconds + 10


def test_a_daemon_that_was_taken_over_from_stays_until_its_pod_is_told_to_end(deploy):
    # Or it is started again, and takes over from its own successor. Nothing keeps SIGTERM from the one that serves.
    assert "--linger" in deploy.container["args"]
    assert "lifecycle" not in deploy.container
    # In a network namespace where no other daemon wants its address for metrics.
    assert not deploy.pod.get("hostNetwork")


def test_probes_and_monitors_ask_where_metrics_are_served(deploy):
    config = deploy.one("ConfigMap", "interceptor-config")["data"]["interceptor.yaml"]
    port = int(re.search(r'^metrics: \{ listen: "[^"]*:(\d+)" \}$', config, re.MULTILINE).group(1))
    (declared,) = deploy.container["ports"]
    assert declared["containerPort"] == port, declared
    for probe, path in [("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")]:
        get = deploy.container[probe]["httpGet"]
        assert (get["port"], get["path"]) == (declared["name"], path), get
    service = deploy.one("Service", "interceptor-metrics", "monitoring")["spec"]
    labels = deploy.one("DaemonSet", "interceptor")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["ports"][0]["targetPort"] == declared["name"]
    monitor = deploy.one("ServiceMonitor", "interceptor", "monitoring")["spec"]
    assert monitor["endpoints"][0]["port"] == service["ports"][0]["name"]
    for build, name in [("base", "interceptor"), ("monitoring", "interceptor-metrics")]:
        policy = deploy.one("NetworkPolicy", name, build)["spec"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items(), policy


def test_what_the_daemon_mounts_is_there_and_no_more_of_the_host_than_it_needs(deploy):
    volumes = {volume["name"]: volume for volume in deploy.pod["volumes"]}
    mounted = [mount["name"] for mount in deploy.container["volumeMounts"]]
    assert sorted(mounted) == sorted(volumes)
    for volume in volumes.values():
        if "configMap" in volume:
            deploy.one("ConfigMap", volume["configMap"]["name"])
    secrets = {volume["secret"]["secretName"] for volume in volumes.values() if "secret" in volume}
    guide = deploy.text("docs/KUBERNETES.md")
    assert secrets and all(f"create secret generic {name} " in guide for name in secrets), secrets
    paths = {volume["hostPath"]["path"] for volume in volumes.values() if "hostPath" in volume}
    assert paths == {"/sys/fs/bpf", "/sys/fs/cgroup", "/run/interceptor"}, paths


def test_pins_are_never_on_a_file_system_that_goes_with_the_container(deploy):
    # Below /sys/fs/bpf the daemon would mount one where there is none.
    mounts = {mount["name"]: mount["mountPath"] for mount in deploy.container["volumeMounts"]}
    (pins,) = [arg.removeprefix("--bpf-dir=") for arg in deploy.container["args"] if "--bpf-dir" in arg]
    assert pins.startswith(mounts["bpf"] + "/") and not pins.startswith("/sys/fs/bpf"), pins
    assert f'"--bpf-dir={pins}"' in deploy.text("deploy/docker/Dockerfile")
    assert f"/sys/fs/bpf:{mounts['bpf']}" in deploy.compose["volumes"]
    assert deploy.unit["AssertPathIsMountPoint"] == "/sys/fs/bpf"


def test_programs_find_the_ca_by_the_variables_that_the_program_names(deploy):
    told = run(deploy.interceptor, "ca", "env", "--dir", "/etc/interceptor-trust", "--format", "json")
    if told.returncode != 0:
        raise Skip("this interceptor has no `ca env`")
    (agent,) = deploy.one("Deployment", "micky", "trust")["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in agent["env"]}
    assert given.pop("DISCORD_BOT_TOKEN").startswith("openshell:resolve:env:")
    assert given == json.loads(told.stdout), given


def test_the_ca_is_mounted_where_the_variables_say(deploy):
    (agent,) = deploy.one("Deployment", "micky", "trust")["spec"]["template"]["spec"]["containers"]
    (mount,) = agent["volumeMounts"]
    assert mount["readOnly"] and mount["mountPath"] == "/etc/interceptor-trust"
    files = {entry["value"] for entry in agent["env"] if entry["value"].startswith("/")}
    assert files == {"/etc/interceptor-trust/ca.pem", "/etc/interceptor-trust/ca-bundle.pem"}, files


def test_the_image_holds_no_shell(deploy):
    stages = re.split(r"^FROM ", deploy.text("deploy/docker/Dockerfile"), flags=re.MULTILINE)
    last = stages[-1].splitlines()
    assert last[0] == "scratch"
    assert {line.split(" ")[0] for line in last[1:] if line} <= {"COPY", "ENTRYPOINT", "CMD"}, last
