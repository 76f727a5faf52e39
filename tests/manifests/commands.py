"""The program itself: whether it takes what deploy/ and the documents tell it."""

import json
import re
import shlex
import tempfile
from pathlib import Path

from parts import run

DOCUMENTS = ["docs/KUBERNETES.md", "docs/OPENSHELL.md"]


def test_the_daemon_takes_the_configuration_as_its_pod_has_it(deploy):
    with tempfile.TemporaryDirectory() as directory:
        etc = Path(directory)
        for volume in deploy.pod["volumes"]:
            if "configMap" not in volume:
                continue
            files = deploy.one("ConfigMap", volume["configMap"]["name"])["data"]
            (etc / volume["name"]).mkdir()
            for name, text in files.items():
                (etc / volume["name"] / name).write_text(text)
        made = run(deploy.interceptor, "ca", "init", "--data-dir", etc / "ca")
        assert made.returncode == 0, made.stderr
        (etc / "secrets").mkdir()
        token = etc / "secrets/DISCORD_BOT_TOKEN"
        token.touch(0o400)
        token.write_text("no.real.token.of.anybody")
        checked = run(deploy.interceptor, "check", "--config", etc / "config/interceptor.yaml")
        assert checked.returncode == 0, checked.stderr
        assert "gateway.discord.gg:443: intercept + rewrite (DISCORD_BOT_TOKEN)" in checked.stdout, checked.stdout
        # In the pod's own network namespace.
        warnings = [line for line in checked.stdout.splitlines() if "warning: " in line]
        assert len(warnings) == 1 and "metrics are served beyond this host" in warnings[0], warnings


def test_the_daemon_takes_the_configuration_for_hosts(deploy):
    with tempfile.TemporaryDirectory() as directory:
        etc = Path(directory)
        (etc / "interceptor.yaml").write_text(deploy.text("deploy/interceptor.yaml"))
        (etc / "policies").symlink_to(deploy.root / "policies")
        (etc / "secrets").mkdir()
        token = etc / "secrets/DISCORD_BOT_TOKEN"
        token.touch(0o600)
        token.write_text("no.real.token.of.anybody")
        checked = run(deploy.interceptor, "check", "--config", etc / "interceptor.yaml")
        assert checked.returncode == 0 and "warnings: 0" in checked.stdout, checked


def refusal(deploy, arguments):
    """What the program has against a command line, without running it. Options of a command that is run are not its."""
    arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
    words = [word for word in arguments if not word.startswith("-")]
    subcommand = words[:2] if words[0] == "ca" else words[:1]
    told = run(deploy.interceptor, *subcommand, "--help")
    if told.returncode != 0:
        return told.stderr
    known = set(re.findall(r"--[a-z][a-z-]*", told.stdout))
    options = {word.split("=")[0] for word in arguments if word.startswith("--")}
    return f"{options - known}" if options - known else None


def test_options_that_do_not_exist_are_noticed(deploy):
    assert refusal(deploy, ["run", "--config", "x"]) is None
    assert refusal(deploy, ["exec", "--name", "x", "--", "node", "--flag"]) is None
    assert "--colour" in refusal(deploy, ["run", "--colour", "green"])
    assert refusal(deploy, ["sing"])


def test_the_program_takes_the_command_lines_of_pods_images_and_units(deploy):
    default = re.search(r"^CMD (\[.*\])$", deploy.text("deploy/docker/Dockerfile"), re.MULTILINE).group(1)
    lines = [deploy.container["args"], json.loads(default)]
    for name in ["ExecStart", "ExecReload"]:
        program, *arguments = shlex.split(deploy.unit[name])
        assert program == "/usr/local/bin/interceptor"
        lines.append(arguments)
    for line in lines:
        assert refusal(deploy, line) is None, (line, refusal(deploy, line))


def test_the_program_takes_every_command_line_of_the_documents(deploy):
    pattern = r"(?:^|sudo |-- |\$\(|/)interceptor ((?:[a-z]|--).*)$"
    found = 0
    for document in DOCUMENTS:
        blocks = re.findall(r"^(?:    .*\n)+", deploy.text(document), re.MULTILINE)
        code = "\n".join(line[4:] for block in blocks for line in block.splitlines()).replace("\\\n", " ")
        for line in re.findall(pattern, code, re.MULTILINE):
            arguments = re.split(r" [|>&#]| \$\(|\) ", line.strip(") "))[0].split()
            assert refusal(deploy, arguments) is None, (document, line, refusal(deploy, arguments))
            found += 1
    assert found >= 10, found
