"""StrictModes, with stock ssh: a key in a file that others may write lets nobody in, and everybody is told what to do."""

from __future__ import annotations

import json
from pathlib import Path

from ferry_command import ferry
from gateway_process import gateway_in
from ssh_command import fingerprint, make_key


def test_a_key_file_that_others_may_write_lets_nobody_in_until_it_is_closed(tmp_path: Path) -> None:
    key = make_key(tmp_path / "ann")
    make_key(tmp_path / "bob")
    (keys := tmp_path / "keys").mkdir(mode=0o755)
    (file := keys / "ann").write_text(key.with_suffix(".pub").read_text())
    file.chmod(0o666)
    access: dict[str, object] = {"mode": "keys", "keys": [keys / "%u"]}
    why = f"could write keys there, and no key in it counts: chmod go-w {file}, or write strict_modes = false in [sshd]"
    with gateway_in(tmp_path, access=access) as gateway:
        rejected = gateway.event(r'"keys\.rejected"')
        assert (rejected["path"], str(rejected["error"]).endswith(why)) == (str(file), True)
        ssh = gateway.ssh(tmp_path, key)
        assert "Permission denied" in ssh.run(words="whoami", user="ann").err
        checked = ferry("check-config", "--config", "ferry.toml", "--no-dns", "--json", cwd=tmp_path)
        findings = [each["text"] for each in json.loads(checked.out)["findings"] if each["severity"] == "FIX"]
        assert f"{file}: {rejected['error']}" in findings
        for command in (("keys", "list"), ("keys", "add", "bob", "bob.pub", "--user", "bob")):
            asked = ferry(*command, "--config", "ferry.toml", cwd=tmp_path)
            assert (asked.code, f"note: {file}: it belongs to " in asked.err) == (0, True), asked.err
        stands = ferry("allow", fingerprint(key), "--config", "ferry.toml", cwd=tmp_path).err
        assert f"chmod go-w {file}" in stands
        seen = gateway.log_lines
        file.chmod(0o644)
        gateway.event(r'"keys\.loaded".*"keys": 2', after=seen)
        assert ssh.run(words="whoami", user="ann").code == 0
        seen = gateway.log_lines
        keys.chmod(0o777)
        folder = gateway.event(r'"keys\.rejected"', after=seen)
        assert (folder["path"], str(folder["error"]).startswith(f"the folder {keys} belongs to ")) == (str(keys), True)
        gateway.settings = {"access": access, "sshd": {"strict_modes": "no"}}
        gateway.reload()
        assert ssh.run(words="whoami", user="ann").code == 0
