"""The systemd unit of a device. Source: systemd.service(5), systemd.exec(5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_runtime.settings import DeviceSettings
from edgeloop.errors import ConfigError
from edgeloop.store import directory_of

UNITS = Path("/etc/systemd/system")

_UNIT = """\
[Unit]
Description=edgeloop device {device}, loop {loop}
# Not network-online.target: a device predicts without a network.
After=network.target
# It is tried for ever, ever less often.
StartLimitIntervalSec=0

[Service]
Type=notify
User={user}
ExecStart={command}
# Credentials, of a store or a broker; the file need not be there.
EnvironmentFile=-{environment}
# 128 + SIGTERM is how it says that it was asked to end.
SuccessExitStatus=143
WatchdogSec=60
Restart=on-failure
RestartSec=2
# Of systemd 254 and later; older ones wait RestartSec each time.
RestartSteps=8
RestartMaxDelaySec=300

ReadWritePaths={writes}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def unit(home: Path, settings: DeviceSettings, user: str, program: str, options: Sequence[str]) -> str:
    """The unit that runs the device in `home` as `user`; it may write there, and in its store if that is a directory.

    Args:
        program: the path of `edgeloop`.
        options: what `edgeloop device run` gets besides.

    Raises:
        ConfigError: a path or an option has a character that a unit cannot have.
    """
    store = directory_of(settings.store)
    writes = [str(home), *([str(store)] if store else [])]
    command = [program, "device", "run", str(home), *options]
    return _UNIT.format(
        device=_plain(settings.device).replace("%", "%%"),
        loop=_plain(settings.loop).replace("%", "%%"),
        user=_plain(user),
        command=" ".join(_quoted(word).replace("$", "$$") for word in command),
        environment=_plain(str(home / "environment")).replace("%", "%%"),
        writes=" ".join(map(_quoted, writes)),
    )


def _quoted(word: str) -> str:
    escaped = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ConfigError(f"{text!r} cannot be part of a systemd unit.", remedy="Use printable characters only.")
    return text
