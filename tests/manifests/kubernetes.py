"""Kubernetes' schemas, of every release that is served."""

import copy

import jsonschema
from kubernetes_validate.utils import all_versions, validate as validate_by_schema
from packaging.version import Version
from parts import read_yaml

OLDEST = Version("1.31")


def closed(properties, required=()):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT = {"type": "string"}
LABELS = {"type": "object", "additionalProperties": TEXT}
# Of the Prometheus operator, as far as we use it: its definitions are in no package.
SERVICE_MONITOR = closed(
    {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": closed({"name": TEXT, "namespace": TEXT, "labels": LABELS}, ["name"]),
        "spec": closed(
            {
                "selector": closed({"matchLabels": LABELS}),
                "endpoints": {
                    "type": "array",
                    "items": closed(
                        {
                            "port": TEXT,
                            "path": TEXT,
                            "interval": {"type": "string", "pattern": r"^\d+[smh]$"},
                            "relabelings": {
                                "type": "array",
                                "items": closed(
                                    {"sourceLabels": {"type": "array", "items": TEXT}, "targetLabel": TEXT}
                                ),
                            },
                        }
                    ),
                },
            },
            ["selector", "endpoints"],
        ),
    },
    ["apiVersion", "kind", "metadata", "spec"],
)


def versions():
    return [v for v in all_versions() if Version(v).release[:2] >= OLDEST.release]


def validate(thing, version):
    if thing["kind"] == "ServiceMonitor":
        jsonschema.Draft202012Validator(SERVICE_MONITOR).validate(thing)
    else:
        validate_by_schema(thing, version, strict=True)


def objects(deploy):
    """Each that is applied anywhere, once."""
    found = []
    examples = read_yaml(deploy.text("deploy/kubernetes/secrets.example.yaml"))
    for thing in [*examples, *(one for build in deploy.builds.values() for one in build)]:
        if thing not in found:
            found.append(thing)
    return found


def test_no_key_stands_twice_in_any_file(deploy):
    assert len(deploy.files()) >= 20
    for path in deploy.files():
        assert read_yaml(path.read_text()), path


def test_every_object_passes_the_strict_schemas_of_1_31_and_newer(deploy):
    assert len(versions()) >= 7, versions()
    kinds = {thing["kind"] for thing in objects(deploy)}
    assert kinds == {
        "ConfigMap",
        "DaemonSet",
        "Deployment",
        "Namespace",
        "NetworkPolicy",
        "Secret",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    }, kinds
    for version in versions():
        for thing in objects(deploy):
            validate(thing, version)


def test_a_field_that_does_not_exist_is_refused(deploy):
    for name in ["DaemonSet", "NetworkPolicy", "ServiceMonitor"]:
        wrong = copy.deepcopy(next(thing for thing in objects(deploy) if thing["kind"] == name))
        wrong["spec"]["colour"] = "green"
        try:
            validate(wrong, versions()[0])
        except jsonschema.ValidationError:
            continue
        raise AssertionError(f"{name} is accepted")
