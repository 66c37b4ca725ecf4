"""Noah with a store of its own that has a whole Debian, for the tests that work in one as a user does."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import Final

from tests.running import cache_folder, environment, noah_command, run

PATIENCE: Final = 3000.0
QUIET: Final = "DEBIAN_FRONTEND=noninteractive"
CLEAN: Final = 'test -z "$(dpkg --audit; dpkg --verify)" && apt-get check >/dev/null && echo clean'
PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
OFFLINE: Final = (b"refused", b"not known", b"timed out", b"unreachable")
"""What is said where Debian's archive cannot be reached."""


class Noah:
    """The command as one user has it, with a store of its own."""

    def __init__(self, user: pwd.struct_passwd | None) -> None:
        self.user = user
        self.command = noah_command(user)
        self.data = cache_folder() / f"noah-test-store-{user.pw_name if user else 'root'}"
        self.data.mkdir(exist_ok=True)
        if user is not None:
            os.chown(self.data, user.pw_uid, user.pw_gid)
        proxies = {name: os.environ[name] for name in PROXIES if name in os.environ}
        self.environ = environment(NOAH_DATA=str(self.data), HOME=str(self.data), **proxies)

    def __call__(self, *words: str) -> str:
        """Run it, and expect that all goes well."""
        result = run([*self.command, *words], cwd="/", env=self.environ, timeout=PATIENCE, user=self.user)
        output = result.stdout.decode("utf-8", "replace")
        assert result.status == 0, f"{words}: {output[-3000:]}{result.stderr.decode('utf-8', 'replace')[-2000:]}"
        return output

    def forget(self, *words: str) -> None:
        """Run a command that removes what may not be there."""
        run([*self.command, *words], cwd="/", env=self.environ, user=self.user)

    def shell(self, name: str, image: str, script: str, *options: str) -> str:
        """Run a script in a new container of an image; the container is kept."""
        return self("run", "--name", name, "-e", QUIET, *options, image, "sh", "-ec", script)

    def next(self, name: str, script: str) -> str:
        """Go on where the container `name` is now."""
        self("commit", name, "next")
        self("rm", name)
        return self.shell(name, "next", script)

    def natively(self, name: str, script: Path, place: Path) -> str:
        """What a script says in a chroot of a copy of a container. Puts it into the container, too."""
        self("cp", str(script), f"{name}:/{script.name}")
        archive = self.data / "native.tar"
        self("export", "-o", str(archive), name)
        native = place / "native"
        native.mkdir()
        options = ("--same-owner", "--xattrs", "--xattrs-include=*", "-C", str(native))
        subprocess.run(["tar", "-xpf", str(archive), *options], check=True)
        archive.unlink()
        native.chmod(0o755)
        try:
            for source in ("proc", "dev"):
                subprocess.run(["mount", "--rbind", f"/{source}", native / source], check=True)
            return run(["chroot", str(native), "bash", f"/{script.name}"], cwd="/", timeout=PATIENCE).stdout.decode()
        finally:
            for source in ("proc", "dev"):
                subprocess.run(["umount", "--recursive", "--lazy", native / source], check=False)

    def start(self, name: str, image: str, script: str, log: Path) -> subprocess.Popen[bytes]:
        """As shell(), without waiting for it."""
        words = [*self.command, "run", "--name", name, "-e", QUIET, image, "sh", "-ec", script]
        user = self.user
        with log.open("wb") as output:
            return subprocess.Popen(
                words,
                cwd="/",
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )
