"""The network calls of a process, traced with strace: destination of every connect, send and bind."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

CALLS = "connect,sendto,sendmsg,sendmmsg,bind"
_IN_MEMORY = ("AF_UNIX", "AF_NETLINK", "AF_UNSPEC")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call with a socket address."""

    name: str
    family: str
    address: str
    port: int
    succeeded: bool


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """The calls of a trace that have an address (sends on connected sockets have none; their connect has)."""
    for line in lines:
        if not (named := re.search(r"^\d+ +(\w+)\(", line)):
            continue
        for address in re.finditer(r"sa_family=(AF_\w+)([^}]*)", line):
            family, rest = address.groups()
            host = re.search(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', rest)
            port = re.search(r"port=htons\((\d+)\)", rest)
            yield Call(
                named[1], family, (host[1] or host[2]) if host else "", int(port[1]) if port else 0,
                succeeded=" = -1 " not in line,
            )  # fmt: skip


def leaves(call: Call) -> bool:
    """Whether a call sends to another machine, or to any DNS server."""
    if call.name == "bind" or call.family in _IN_MEMORY:
        return False
    return not call.address or call.port in (53, 853) or not ip_address(call.address).is_loopback


class Traced:
    """A command and its children under strace; `lines` is complete after `wait`."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], stdout: int | None = None) -> None:
        read, write = os.pipe()
        self.lines: list[str] = []
        # -D: the started process is the command itself, so signals reach it. --seccomp-bpf: only these calls stop it.
        self.popen = subprocess.Popen(
            ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", f"/proc/self/fd/{write}", "-e", f"trace={CALLS}",
             "-e", "signal=none", *command],
            env=env, pass_fds=[write], stdout=stdout, text=True,
        )  # fmt: skip
        os.close(write)
        self._reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._reader.start()

    def _read(self, fd: int) -> None:
        with os.fdopen(fd, errors="replace") as trace:
            self.lines.extend(trace)

    def wait(self, seconds: float) -> int:
        """Wait for the end. Returns the command's exit code."""
        code = self.popen.wait(seconds)
        self._reader.join(seconds)
        assert not self._reader.is_alive(), "a child process of the command is still running"
        return code
