"""systemd, where it is."""

import shutil
import tempfile
from pathlib import Path

from parts import Skip, run


def verify(deploy, text):
    if shutil.which("systemd-analyze") is None:
        raise Skip("there is no systemd-analyze")
    with tempfile.TemporaryDirectory() as directory:
        unit = Path(directory) / "interceptor@.service"
        # It wants the program to be there.
        unit.write_text(text.replace("/usr/local/bin/interceptor", str(deploy.interceptor)))
        return run("systemd-analyze", "verify", "--man=no", unit)


def test_the_unit_is_well_formed(deploy):
    verdict = verify(deploy, deploy.text("deploy/systemd/interceptor@.service"))
    assert verdict.returncode == 0 and not verdict.stderr, verdict


def test_a_setting_that_does_not_exist_is_noticed(deploy):
    text = deploy.text("deploy/systemd/interceptor@.service")
    verdict = verify(deploy, text.replace("ProtectHome=yes", "ProtectHouse=yes"))
    assert "ProtectHouse" in verdict.stderr, verdict
