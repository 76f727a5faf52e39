"""What deploy/ consists of, read once."""

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

# A workload as users have it, for the component that gives it the CA.
AGENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: micky
  labels: { interceptor/sandbox: "true" }
spec:
  selector: { matchLabels: { app: micky } }
  template:
    metadata: { labels: { app: micky } }
    spec:
      containers:
        - name: agent
          image: agent
          env: [{ name: DISCORD_BOT_TOKEN, value: "openshell:resolve:env:DISCORD_BOT_TOKEN" }]
"""
# `labels` in kustomizations, and `kustomizeVersion` in what kubectl says of itself.
OLDEST_KUBECTL = 25


class Skip(Exception):
    """Something that a claim needs is not to be had here."""


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which others take the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(text):
    return [document for document in yaml.load_all(text, StrictLoader) if document is not None]


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


class Deploy:
    def __init__(self, workspace, interceptor):
        self.workspace = workspace
        self.interceptor = interceptor
        self.root = workspace / "deploy"

    def text(self, path):
        return (self.workspace / path).read_text()

    def files(self):
        return sorted(path for path in self.root.rglob("*.yaml"))

    def build(self, directory):
        """The objects of a kustomization."""
        if shutil.which("kubectl") is None:
            raise Skip("there is no kubectl")
        version = json.loads(run("kubectl", "version", "--client", "--output=json").stdout)
        if int(re.match(r"\d+", version["clientVersion"]["minor"]).group()) < OLDEST_KUBECTL:
            raise Skip(f"kubectl is older than 1.{OLDEST_KUBECTL}")
        built = run("kubectl", "kustomize", directory)
        assert built.returncode == 0, f"{directory}: {built.stderr}"
        assert not built.stderr, f"{directory}: {built.stderr}"
        return read_yaml(built.stdout)

    @functools.cached_property
    def builds(self):
        """By name, what each kustomization that is applied is made of, and each component with what it is made for."""
        kubernetes = self.root / "kubernetes"
        directories = [kubernetes / "base", *sorted((kubernetes / "overlays").iterdir())]
        builds = {path.name: self.build(path) for path in directories}
        builds["monitoring"] = self.build_with("monitoring", f"resources: [{self.beside('kubernetes/base')}]")
        builds["trust"] = self.build_with("trust", "resources: [agent.yaml]")
        return builds

    def beside(self, path):
        """From the directory of a kustomization that `build_with` makes."""
        return os.path.relpath(self.root / path, self.workspace / "target/manifests/some")

    def build_with(self, component, resources):
        # Kustomizations name others only by relative paths.
        with tempfile.TemporaryDirectory(dir=self.workspace / "target/manifests") as directory:
            place = self.beside(f"kubernetes/components/{component}")
            text = f"{resources}\ncomponents: [{place}]\n"
            (Path(directory) / "kustomization.yaml").write_text(text)
            (Path(directory) / "agent.yaml").write_text(AGENT)
            return self.build(directory)

    def one(self, kind, name, build="base"):
        found = [o for o in self.builds[build] if o["kind"] == kind and o["metadata"]["name"] == name]
        assert len(found) == 1, f"{kind} {name}: {len(found)}"
        return found[0]

    @property
    def pod(self):
        return self.one("DaemonSet", "interceptor")["spec"]["template"]["spec"]

    @property
    def container(self):
        (container,) = self.pod["containers"]
        return container

    @property
    def compose(self):
        (compose,) = read_yaml(self.text("deploy/docker/compose.yaml"))
        return compose["services"]["interceptor"]

    @property
    def unit(self):
        """Settings of the unit by their names; none stands twice."""
        settings = {}
        for line in self.text("deploy/systemd/interceptor@.service").splitlines():
            if "=" in line and not line.startswith("#"):
                name, value = line.split("=", 1)
                assert name not in settings, name
                settings[name] = value
        return settings
