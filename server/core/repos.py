"""The repositories that toto hosts: the only importer of git.

GitPython opens them; what is hot goes to git's own commands through it (`ls-tree` once, `cat-file --batch` for
contents). Only 40-digit commits and checked refs are ever handed to git: most advisories of GitPython are about options
in refs.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from server.core import process
from server.core.config import Config
from server.core.errors import CommandFailed, ToolMissing, Trouble, UsageFault
from server.core.tree import Entry, Tree

# A missing git is told when it is needed, as ToolMissing, and not by an ImportError.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
import git

COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SHORT = re.compile(r"[0-9a-fA-F]{4,40}")
_BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)")

SETTINGS = {
    # Group-writable whatever the pusher's umask is, so that root and the group push by path.
    "core.sharedRepository": "group",
    # `git init --shared` forbids them; on a fleet's branch they are allowed, and told (post-receive).
    "receive.denyNonFastForwards": "false",
    # Without it git refuses `git push -o toto.skip`.
    "receive.advertisePushOptions": "true",
    # What a forced push leaves behind stays reachable for a while, for a rebuild of what still runs.
    "core.logAllRefUpdates": "true",
}


@dataclass(frozen=True)
class CommitInfo:
    """What the pages show of a commit.

    Attributes:
        id: 40 digits.
        author: Name of its author.
        when: When it was committed.
        subject: First line of its message.
    """

    id: str
    author: str
    when: datetime
    subject: str


def check_name(name: str) -> str:
    """A repository's name, which becomes a folder.

    Raises:
        UsageFault: It is none.
    """
    if not _NAME.fullmatch(name) or name.endswith((".git", ".lock", ".")) or ".." in name:
        raise UsageFault(
            f"{name!r} is no name for a repository",
            mend="take letters, digits, `.`, `_` and `-`, a letter or digit first, without .git at the end",
        )
    return name


def check_ref(ref: str) -> str:
    """A branch, tag or ref by git's rules (git-check-ref-format(1)).

    Raises:
        UsageFault: It is none, or could be taken for an option.
    """
    if not ref or ref[0] in "-/." or ref[-1] in "/." or ref == "@" or _BAD_IN_REF.search(ref):
        raise UsageFault(f"{ref!r} is no branch, tag or commit")
    return ref


def folder(config: Config, name: str) -> Path:
    """Where the repository of that name lies."""
    return config.folder("repos") / f"{check_name(name)}.git"


def create(config: Config, name: str, branch: str = "main") -> Path:
    """Make a bare repository that root and its group may push to, or bring an existing one's settings up to date.

    Raises:
        UsageFault: The name or the branch is none.
        CommandFailed: git could not make it.
    """
    path = folder(config, name)
    check_ref(branch)
    path.parent.mkdir(parents=True, exist_ok=True)
    trust(path)
    if not (path / "HEAD").exists():
        first = f"--initial-branch={branch}"
        _command("init", "--quiet", "--bare", "--shared=group", "--template=", first, "--", str(path))
    for key, value in SETTINGS.items():
        _command("--git-dir", str(path), "config", key, value)
    _command("--git-dir", str(path), "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    hand_over(config, path)
    return path


def hand_over(config: Config, path: Path) -> None:
    """Give what root has made to the owner of the data folder, and leave it writable for the group."""
    if os.geteuid() != 0:
        return
    owner = config.data.stat()
    for place in (path, *path.rglob("*")):
        shutil.chown(place, owner.st_uid, owner.st_gid) if not place.is_symlink() else None
        if place.is_dir() and not place.is_symlink():
            place.chmod(place.stat().st_mode | 0o2070)


def trust(path: Path) -> None:
    """Enter a repository in the machine's `safe.directory`, so that all who may push to it can; only root may do so."""
    if os.geteuid() != 0:
        return
    asked = ["git", "config", "--system", "--get-all", "safe.directory"]
    known = process.run(asked, timeout=30, env=_environment(), check=False)
    if str(path) not in known.text.splitlines():
        _command("config", "--system", "--add", "safe.directory", str(path))


def _environment() -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("GIT_CONFIG_SYSTEM",) if key in os.environ}
    return process.environment({"GIT_TERMINAL_PROMPT": "0", **kept})


def _command(*arguments: str) -> None:
    process.run(["git", *arguments], timeout=60, env=_environment())


def open_repo(path: Path) -> git.Repo:
    """A repository by its path; one that belongs to another user works too.

    Raises:
        Trouble: There is none.
    """
    try:
        repo = git.Repo(path)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
        raise Trouble("there is no repository", where=str(path), mend="make one with `toto repo add NAME`") from error
    # Only settings of this command count here (git-config(1), safe.directory), and only for this path.
    repo.git.update_environment(
        GIT_DIR=str(path),
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="safe.directory",
        GIT_CONFIG_VALUE_0=str(path),
        LC_ALL="C.UTF-8",
    )
    return repo


def _ask(repo: git.Repo, command: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> tuple[int, bytes]:
    """Exit code and output of a git command.

    Raises:
        CommandFailed: It ended with a code that is not in `codes`.
        ToolMissing: git is not installed.
    """
    try:
        options: dict[str, Any] = {"with_extended_output": True, "with_exceptions": False, "stdout_as_string": False}
        code, output, complaint = getattr(repo.git, command)(*arguments, **options)
    except git.GitCommandNotFound as error:
        raise ToolMissing("the program git is not installed", mend="install the package git") from error
    if code not in codes:
        said = complaint if isinstance(complaint, str) else bytes(complaint).decode(errors="replace")
        text = process.pasteable(["git", "--git-dir", str(repo.git_dir), command.replace("_", "-"), *arguments])
        raise CommandFailed(f"`{text}` ended with {code} ({said.strip() or 'no output'})", code=code, output=said)
    return code, output


def resolve(path: Path, ref: str) -> str:
    """The commit that a branch, a tag or (the beginning of) a commit's name means, looked for in this order.

    Raises:
        UsageFault: There is none, or the ref could be taken for an option.
        Trouble: The repository cannot be read.
    """
    check_ref(ref)
    repo = open_repo(path)
    names = [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    if ref == "HEAD" or ref.startswith("refs/"):
        names.append(ref)
    if _SHORT.fullmatch(ref):
        names.insert(0 if COMMIT.fullmatch(ref) else len(names), ref)
    for name in names:
        code, output = _ask(
            repo, "rev_parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", codes=(0, 1, 128)
        )
        if code == 0:
            return output.decode().strip()
    raise UsageFault(f"no such ref: {ref!r} is no branch, tag or commit of {path.name}", mend="see `git branch -a`")


def _commit(commit: str) -> str:
    if not COMMIT.fullmatch(commit):
        raise UsageFault(f"{commit!r} is no commit of 40 digits")
    return commit


class GitTree:
    """The files of one commit; contents are read when asked for, through one `git cat-file --batch`."""

    def __init__(self, repo: git.Repo, entries: Mapping[str, Entry]) -> None:
        self._repo = repo
        self._entries = entries
        self._lock = threading.Lock()

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Every file's path; see `server.core.tree.Tree`."""
        return self._entries

    def read(self, path: str) -> bytes:
        """The content of a file; a link's is its target.

        Raises:
            KeyError: There is no such file, or it is a submodule.
            Trouble: The repository is damaged.
        """
        entry = self._entries[path]
        if entry.size < 0:
            raise KeyError(path)
        with self._lock:
            try:
                return self._repo.git.get_object_data(entry.blob)[3]
            except (ValueError, OSError) as error:
                raise Trouble(f"git cannot read {path}: {error}", where=str(self._repo.git_dir)) from error


def tree(path: Path, commit: str) -> Tree:
    """The files of a commit.

    Raises:
        UsageFault: That is no commit's full name.
        CommandFailed: The repository does not have it.
    """
    repo = open_repo(path)
    _, output = _ask(repo, "ls_tree", "-r", "-l", "-z", "--full-tree", _commit(commit))
    entries = {}
    for record in output.split(b"\0"):
        if record:
            fields, _, name = record.partition(b"\t")
            mode, _, blob, size = fields.split()
            # A submodule has no content here; git writes `-` for its size.
            entries[name.decode(errors="surrogateescape")] = Entry(
                int(mode, 8), blob.decode(), int(size) if size != b"-" else -1
            )
    return GitTree(repo, entries)


def heads(path: Path) -> Mapping[str, str]:
    """Every branch (without `refs/heads/`) and its commit."""
    return _refs(path, "refs/heads/")


def _refs(path: Path, prefix: str) -> Mapping[str, str]:
    _, output = _ask(open_repo(path), "for_each_ref", "--format=%(objectname) %(refname)", prefix)
    lines = output.decode(errors="surrogateescape").splitlines()
    return {name.removeprefix(prefix): commit for commit, name in (line.split(" ", 1) for line in lines)}


def deployed_branch(path: Path) -> str:
    """The branch that is deployed: the one that HEAD names."""
    _, output = _ask(open_repo(path), "symbolic_ref", "HEAD")
    return output.decode().strip().removeprefix("refs/heads/")


def commit_info(path: Path, commit: str) -> CommitInfo:
    """Author, time and subject of a commit.

    Raises:
        CommandFailed: The repository does not have it.
    """
    _, output = _ask(open_repo(path), "log", "-1", "--format=%H%x00%an%x00%cI%x00%s", _commit(commit), "--")
    name, author, when, subject = output.decode(errors="replace").rstrip("\n").split("\0", 3)
    return CommitInfo(name, author, datetime.fromisoformat(when), subject)


def subject(path: Path, commit: str) -> str:
    """The first line of a commit's message.

    Raises:
        CommandFailed: The repository does not have it.
    """
    return commit_info(path, commit).subject


def is_ancestor(path: Path, ancestor: str, descendant: str) -> bool:
    """Whether a commit is another one, or stands before it.

    Raises:
        CommandFailed: The repository does not have one of them.
    """
    code, _ = _ask(open_repo(path), "merge_base", "--is-ancestor", _commit(ancestor), _commit(descendant), codes=(0, 1))
    return code == 0
