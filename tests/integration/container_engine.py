"""Containers where there is no engine: Buildah builds and runs them, over a Debian that debootstrap makes.

Nothing comes from a registry. Both need root, and the packages buildah and debootstrap. What is built stays in
``.cache/containers`` (or in ``BIRDWATCH_CONTAINER_CACHE``), so that only the first run waits for Debian.
"""

import configparser
import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["Container", "base", "build", "clean", "inspect", "missing"]

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("BIRDWATCH_CONTAINER_CACHE") or ROOT / ".cache" / "containers")
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
SECONDS = 900

# What an engine mounts for a read-only container: its root as it is, and an empty /run. In a namespace of its own, so that
# nothing stays mounted, however this ends.
READ_ONLY = (
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t tmpfs -o mode=755 tmpfs "$0/run" && exec "$@"'
)


def missing():
    """Say why containers cannot run here, or give None."""
    absent = [tool for tool in ("buildah", "debootstrap", "unshare") if shutil.which(tool) is None]
    absent += ["root"] * (os.geteuid() != 0)
    return (
        f"containers need {', '.join(absent)}: apt-get install buildah debootstrap, and run as root" if absent else None
    )


@cache
def driver():
    """Name the storage driver: vfs works everywhere, and copies all of an image for every container."""
    place = CACHE / "trial"
    lower, upper, work, merged = (place / name for name in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper, work, merged):
        folder.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mounting = ["unshare", "--mount", "mount", "-t", "overlay", "-o", options, "overlay", merged]
    tried = subprocess.run(mounting, capture_output=True, check=False)
    shutil.rmtree(place)
    return "vfs" if tried.returncode else "overlay"


def command(*arguments):
    storage = ["--root", CACHE / driver(), "--runroot", CACHE / "run", "--storage-driver", driver()]
    return ["buildah", *map(str, storage), *map(str, arguments)]


def environment():
    (CACHE / "tmp").mkdir(parents=True, exist_ok=True)
    # Isolation by chroot is what needs no rights beyond root's. What is fetched is kept below TMPDIR.
    return {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(CACHE / "tmp")}


def buildah(*arguments):
    done = subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"buildah {' '.join(map(str, arguments))}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()


def base():
    """Give the name of an image of this machine's Debian, with Python, which is made if need be."""
    mirror, suite = _debian()
    name = f"localhost/birdwatch-base:{suite}"
    if buildah("images", "--quiet", "--filter", f"reference={name}"):
        return name
    container = buildah("from", "scratch")
    folder = Path(buildah("mount", container))
    try:
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates,python3-venv", suite, folder, mirror],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"debootstrap {suite} from {mirror}: {made.stdout[-4000:]}{made.stderr[-2000:]}")
        for cached in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(folder / cached)
        # It trusts whom this machine trusts, such as a proxy of the house.
        shutil.copy(os.environ.get("SSL_CERT_FILE") or f"/{CERTIFICATES}", folder / CERTIFICATES)
        buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        buildah("commit", "--quiet", container, name)
    finally:
        buildah("rm", container)
    return name


def _debian():
    """Give the mirror and the suite that apt uses here."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    # The others are this one's updates.
    return min((line.split() for line in listed.stdout.splitlines()), key=lambda found: len(found[1]))


def build(over, tag="localhost/birdwatch"):
    """Build the image of this checkout over a base, and give its name; pip finds its index as it does here."""
    secret = CACHE / "pip.conf"
    secret.parent.mkdir(parents=True, exist_ok=True)
    places = [Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", os.environ.get("PIP_CONFIG_FILE", "")]
    settings = configparser.RawConfigParser()
    settings.read([place for place in places if place])
    if not settings.has_section("global"):
        settings.add_section("global")
    settings.set("global", "cert", f"/{CERTIFICATES}")
    for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        if index := os.environ.get(name):
            settings.set("global", "index-url", index)
    with secret.open("w") as file:
        settings.write(file)
    options = ["--pull-never", "--format", "docker", "--build-arg", f"BASE={over}", "--tag", tag]
    try:
        buildah("bud", *options, "--secret", f"id=pip.conf,src={secret}", ROOT)
    finally:
        secret.unlink()
    return tag


def inspect(image):
    """Give the configuration of an image: User, Env, Entrypoint, Healthcheck …"""
    return json.loads(buildah("inspect", "--type", "image", "--format", "{{.Config}}", image))["config"]


def clean():
    """Remove all containers, and the layers that no image uses any more."""
    buildah("rm", "--all")
    buildah("rmi", "--prune", "--force")


class Container:
    """One container, to be killed and started again.

    Parameters
    ----------
    image
        Its name.
    volumes
        Folders of this machine by where they are mounted; what ends in ``:ro`` cannot be written.
    environment
        Variables, beside those of the image.
    read_only
        Whether its root is.
    """

    def __init__(self, image, volumes=(), environment=(), *, read_only=True):
        self.name = buildah("from", "--pull-never", image)
        self._root = buildah("mount", self.name)
        self._entrypoint = inspect(image)["Entrypoint"]
        self._options = [f"--volume={folder}:{place}" for place, folder in dict(volumes).items()]
        self._options += [f"--env={name}={value}" for name, value in dict(environment).items()]
        self._read_only = read_only
        self._process = None

    def start(self, *arguments, log):
        """Start what the image is for, with arguments of its own; standard error goes to a file."""
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                self._run(*self._entrypoint, *arguments),
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # and so all its processes are found again
            )
        return self._process.stdout

    def execute(self, *arguments):
        """Run something else beside it, as a health check; give what it says and its exit code."""
        done = subprocess.run(
            self._run(*arguments), env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def kill(self):
        """End all processes in the container, without a warning."""
        if self._process is None:
            return
        while self._process.poll() is None:
            for pid in self._inside():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.2)
        self._process.stdout.close()

    def stop(self):
        """Ask its first process to end, wait until it has, and give its exit code."""
        parents = {pid: _parent(pid) for pid in self._inside()}
        # Buildah's own comes before it.
        (first,) = [pid for pid, parent in parents.items() if parent in parents and parents[parent] not in parents]
        os.kill(first, signal.SIGTERM)
        self._process.communicate(timeout=60)
        return self._process.returncode

    def _run(self, *arguments):
        first = ["unshare", "--mount", "sh", "-c", READ_ONLY, self._root] if self._read_only else []
        return [*first, *command("run", *self._options, self.name, "--", *arguments)]

    def _inside(self):
        """Find the processes of the container; those of Buildah that are outside see another root."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                pid = int(folder.name)
                if os.getpgid(pid) == self._process.pid and (folder / "root").readlink() != Path("/"):
                    found.append(pid)
        return found


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
