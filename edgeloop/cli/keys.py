"""`edgeloop fleet keys`: the signing keys, and the ceremonies in which they change."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.options import Json, KeysDirectory, StoreUrl
from edgeloop.cli.output import emit, say, table
from edgeloop.cli.passphrases import ask_twice, open_keys
from edgeloop.clock import system_clock
from edgeloop.errors import ConfigError

if TYPE_CHECKING:
    from fleet.ceremony import Draft
    from fleet.keys import Keys

app = typer.Typer(help="Signing keys and their ceremonies.", no_args_is_help=True)


class Authority(StrEnum):
    """The two that have to agree before a device runs something."""

    releases = "releases"
    rollouts = "rollouts"


DraftFile = Annotated[Path, typer.Argument(metavar="DRAFT", help="The file that is carried from holder to holder.")]
Unencrypted = Annotated[
    bool, typer.Option("--unencrypted", help="Put the offline keys under no passphrase: only where their disk is.")
]


@app.command()
def create(
    keys: Annotated[Path, typer.Argument(metavar="DIR", help="The key directory; made if missing.")],
    roles: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="Only this one, such as releases or root-2; may be repeated."),
    ] = None,
    uri: Annotated[
        str, typer.Option(help="The key is in a token or a service: hsm:2?label=…, awskms:…, gcpkms:…, azurekms:….")
    ] = "",
    public: Annotated[Path | None, typer.Option(help="With --uri: the key's public half, PEM.")] = None,
    unencrypted: Unencrypted = False,
    json: Json = False,
) -> None:
    """Make signing keys; all of them, or of some roles. Offline keys get a passphrase, online ones if there is one in the environment."""
    from fleet.keys import OFFLINE, ONLINE, Keys

    ring = Keys(keys, ask_twice)
    names = roles or [*OFFLINE, *ONLINE]
    if taken := set(names) & set(ring.names()):
        raise ConfigError(
            f"{keys} holds {', '.join(sorted(taken))} already.", remedy="`fleet keys rotate` replaces a key."
        )
    made = [_link(ring, names, uri, public)] if uri else create_some(ring, names, unencrypted=unencrypted)
    found = {name: ring.public(name).keyid for name in made}
    emit({"made": found}, as_json=json, human=table(f"made in {keys}", ("key", "id"), list(found.items())))


def create_some(keys: Keys, names: list[str], *, unencrypted: bool) -> list[str]:
    """Make keys of these names: offline ones under a passphrase unless told otherwise, online ones if there is one."""
    from fleet.keys import half_of, role_of

    return [
        keys.create(
            role_of(name),
            protected=not unencrypted if half_of(name) == "offline" else keys.protects(name),
            name=name,
        )
        for name in names
    ]


def _link(keys: Keys, names: list[str], uri: str, public: Path | None) -> str:
    from fleet.keys import public_of

    if len(names) != 1:
        raise ConfigError("--uri names one key.", remedy="Name its role with --role.")
    return keys.link(names[0], uri, public.read_bytes() if public else public_of(uri, keys.secret))


@app.command()
def draft(draft: DraftFile, keys: KeysDirectory, json: Json = False) -> None:
    """Draw up the first root and targets of a repository, from the public halves of all keys, and sign with those here."""
    from fleet.ceremony import draft_first, sign_draft

    ring = open_keys(keys)
    if draft.exists():
        raise ConfigError(f"{draft} is there already.", remedy="Sign it with `edgeloop fleet keys sign-root`.")
    drawn = sign_draft(draft_first(ring, system_clock()), ring)
    draft.write_bytes(drawn.encode())
    _show(drawn, draft, published=False, json=json)


@app.command("sign-root")
def sign_root(
    draft: DraftFile,
    keys: KeysDirectory,
    store: Annotated[
        str | None, typer.Option("--store", metavar="URL", help="Publish it there, if it has all its signatures.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before signing.")] = False,
    json: Json = False,
) -> None:
    """Add the signatures of the keys here to a draft of root and targets; with --store, publish it once it has enough."""
    from fleet.ceremony import decode_draft, sign_draft
    from fleet.rotation import describe

    drawn, ring = decode_draft(draft.read_bytes()), open_keys(keys)
    if not yes:
        say("\n".join(f"{what:14} {text}" for what, text in describe(drawn)))
        typer.confirm("Sign this?", abort=True, err=True)
    drawn = sign_draft(drawn, ring)
    draft.write_bytes(drawn.encode())
    if store is None:
        _show(drawn, draft, published=False, json=json)
    else:
        drawn.demand_complete()
        finish(store, ring, drawn, draft, json=json)


@app.command()
def rotate(
    which: Annotated[
        list[str],
        typer.Argument(metavar="KEY…", help="A role, the name of a key here, or the beginning of a key's id."),
    ],
    store: StoreUrl,
    keys: KeysDirectory,
    draft: Annotated[
        Path | None, typer.Option(help="Where the new root is kept until it is published; else in the key directory.")
    ] = None,
    json: Json = False,
) -> None:
    """Put new keys in the place of these. Published at once if enough offline keys are here, else once `sign-root` gathered them.

    Done again, it goes on where it was broken off.
    """
    from edgeloop.store import open_store
    from fleet.ceremony import decode_draft, sign_draft
    from fleet.rotation import draft_rotation

    ring, path, asked = open_keys(keys), draft or keys / "draft.json", tuple(sorted(which))
    if path.exists():
        drawn = decode_draft(path.read_bytes())
        if drawn.asked != asked:
            raise ConfigError(
                f"{path} holds a change of {', '.join(drawn.asked) or 'other keys'} that is not published yet.",
                remedy="Finish it with `edgeloop fleet keys sign-root`, or remove it.",
            )
    else:
        drawn = draft_rotation(open_store(store), ring, asked, system_clock())
    finish(store, ring, sign_draft(drawn, ring), path, json=json)


def finish(store: str, keys: Keys, drawn: Draft, path: Path, *, json: bool) -> None:
    """Publish a draft that has all its signatures, and forget what it replaced; else keep it at `path`."""
    from edgeloop.store import open_store
    from fleet.ceremony import publish_draft
    from fleet.repository import in_turn
    from fleet.rotation import forget_replaced

    opened, ready = open_store(store), not drawn.missing()
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(drawn.encode())
    part.replace(path)
    if ready:
        in_turn(lambda: publish_draft(opened, keys, drawn, system_clock()))
        forget_replaced(keys, drawn)
        path.unlink()
    _show(drawn, path, published=ready, json=json)


def _show(drawn: Draft, path: Path, *, published: bool, json: bool) -> None:
    from fleet.rotation import describe

    missing = drawn.missing()
    rows = describe(drawn)
    rows += [("published", "yes")] if published else [("draft", str(path)), *(("missing", text) for text in missing)]
    found = {
        "published": published,
        "draft": "" if published else str(path),
        "missing": missing,
        "replaced": drawn.replaced,
    }
    emit(found, as_json=json, human=table("root and targets", ("", ""), rows))


@app.command("list")
def list_(store: StoreUrl, keys: KeysDirectory, json: Json = False) -> None:
    """Every key that the repository trusts, what of it is here, and until when what it signed holds."""
    from edgeloop.store import open_store
    from fleet.rotation import trusted_keys

    ring = open_keys(keys)
    found = trusted_keys(open_store(store), ring)
    others = sorted(set(ring.names()) - {key.name for key in found})
    rows = [(k.role, k.keyid[:12], k.name or "none", k.here or "no", f"{k.expires:%Y-%m-%d %H:%M}") for k in found]
    rows += [("not trusted", ring.public(name).keyid[:12], name, "", "") for name in others]
    columns = ("role", "id", "called here", "here", "signed until")
    emit({"trusted": found, "others": others}, as_json=json, human=table("keys", columns, rows))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called here.")],
    keys: KeysDirectory,
    json: Json = False,
) -> None:
    """One key of this directory: its id, its kind, its public half."""
    ring = open_keys(keys)
    if name not in ring.names():
        raise ConfigError(f"{keys} holds no key {name!r}.", remedy=f"Here are: {', '.join(ring.names()) or 'none'}.")
    key, pem = ring.public(name), ring.public_pem(name).decode()
    found = {
        "name": name,
        "keyid": key.keyid,
        "scheme": key.scheme,
        "private": "here" if ring.holds(name) else "elsewhere",
    }
    rows = [*found.items(), *((f"{'public' if not n else ''}", line) for n, line in enumerate(pem.splitlines()))]
    emit({**found, "public": pem}, as_json=json, human=table(name, ("", ""), rows))


@app.command()
def policy(role: Annotated[Authority, typer.Argument(help="Whose key the process holds.")], store: StoreUrl) -> None:
    """Print what a process that signs for this role may do in the bucket, as an IAM policy; MinIO's, if AWS_ENDPOINT_URL names one."""
    import msgspec

    from fleet.access import publisher_policy, without_administration
    from fleet.bucket import bucket_of

    found = publisher_policy(*bucket_of(store), role.value)
    found = without_administration(found) if os.environ.get("AWS_ENDPOINT_URL") else found
    print(msgspec.json.format(msgspec.json.encode(found)).decode())
