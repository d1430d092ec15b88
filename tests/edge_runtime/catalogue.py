"""Releases good and bad, made of one that was really trained, and signed by the site's own keys.

What is wrong with a bad one shows on readings with `a` over `WRONG_FROM`, which its golden vectors have none of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from assets.learning import train_next
from edgeloop.manifest import ReleaseManifest
from edgeloop.rollout import ReleaseRef, RolloutDocument
from edgeloop.verdict import VERDICT_VERSION, Check, Verdict
from fleet.releases import publish_release
from fleet.rollouts import publish_rollout, read_current
from tests.site import Site, fill_lake

WRONG_FROM = 10.0
WRONG = {"a": 2 * WRONG_FROM, "b": 1.0, "mode": "fast"}
"""A reading that shows what is wrong with a release, if anything is."""


@dataclass(frozen=True)
class Made:
    """A published release: what is wrong with it, how a rollout names it, and its files as a device is to have them."""

    what: str
    ref: ReleaseRef
    manifest: bytes
    model: bytes


def publish_catalogue(site: Site) -> dict[str, Made]:
    """Train once and publish every kind there is, by what is wrong with it."""
    fill_lake(site, 24 * 8)
    site.clock.now = site.clock.now.replace(day=9)
    trained = train_next(site.centre, site.config)
    kinds: dict[str, tuple[Callable[[ReleaseManifest], ReleaseManifest], bytes]] = {
        "good": (as_it_is, trained.model),
        "good too": (as_it_is, trained.model),
        "good again": (as_it_is, trained.model),
        "wrong golden vectors": (with_other_answers, trained.model),
        "cannot be loaded": (as_it_is, trained.model[: len(trained.model) // 2]),
        "not a number": (as_it_is, changed(trained.model, not_a_number)),
        "raises": (as_it_is, changed(trained.model, raising)),
        "slow": (as_it_is, changed(trained.model, slow)),
        "kills": (as_it_is, trained.model),
        "kills in its self-test": (as_it_is, trained.model),
        "other features": (with_other_features, trained.model),
    }
    found = {}
    for counter, (what, (change, model)) in enumerate(kinds.items(), start=1):
        found[what] = publish_one(site, what, change(numbered(trained.manifest, counter, model)), model)
    return found


def publish_one(site: Site, what: str, manifest: ReleaseManifest, model: bytes) -> Made:
    content = manifest.encode()
    check = Check("made by hand", True, "", "", "It is what the test needs.")
    verdict = Verdict(VERDICT_VERSION, manifest.sha256, True, (check,), site.clock.now)
    artefacts = {manifest.models[0].target: model}
    publish_release(site.store, site.centre.keys, content, artefacts, verdict.encode(), frozenset(), site.clock.now)
    return Made(what, ReleaseRef(manifest.id, manifest.counter, manifest.sha256), content, model)


def roll_out(
    site: Site, ref: ReleaseRef, floor: int = 0, paused: bool = False, revoked: tuple[ReleaseRef, ...] = ()
) -> None:
    """To everyone."""
    store, keys, now = site.store, site.centre.keys, site.clock.now
    current = read_current(store, keys, "pump")
    number = current.number + 1 if current else 1
    document = RolloutDocument(
        *(1, "pump", number, ref, None, "salt", "other", (10_000,), 0, 2500),
        *(floor, paused, "running", "the test", now, 30, revoked),
    )
    publish_rollout(store, keys, document, now, based_on=current)


def numbered(manifest: ReleaseManifest, counter: int, model: bytes) -> ReleaseManifest:
    ident = f"r{counter:04d}"
    artefact = msgspec.structs.replace(
        manifest.models[0],
        target=f"models/{manifest.loop}/{ident}.onnx",
        sha256=sha256(model).hexdigest(),
        length=len(model),
    )
    return msgspec.structs.replace(manifest, id=ident, counter=counter, models=(artefact,))


def as_it_is(manifest: ReleaseManifest) -> ReleaseManifest:
    return manifest


def with_other_answers(manifest: ReleaseManifest) -> ReleaseManifest:
    answers = tuple(row[::-1] for row in manifest.golden.probabilities)
    return msgspec.structs.replace(manifest, golden=msgspec.structs.replace(manifest.golden, probabilities=answers))


def with_other_features(manifest: ReleaseManifest) -> ReleaseManifest:
    schema = msgspec.structs.replace(manifest.schema, features=manifest.schema.features[:-1])
    return msgspec.structs.replace(manifest, schema=schema)


def changed(model: bytes, tail: Callable[[], list[onnx.NodeProto]]) -> bytes:
    """A model with nodes behind it that give `extra`, of `wrong`, which is 1 where a reading is to go wrong, else 0."""
    proto = onnx.load_from_string(model)
    for node in proto.graph.node:
        for i, name in enumerate(node.output):
            node.output[i] = "sound" if name == "probabilities" else name
        for i, name in enumerate(node.input):
            node.input[i] = "sound" if name == "probabilities" else name
    proto.graph.node.extend(
        [
            constant("first", np.array([0], np.int64)),
            constant("limit", np.array([[WRONG_FROM]], np.float32)),
            helper.make_node("Gather", ["features", "first"], ["a"], axis=1),
            helper.make_node("Greater", ["a", "limit"], ["over"]),
            helper.make_node("Cast", ["over"], ["wrong"], to=TensorProto.INT64),
            *tail(),
            helper.make_node("Add", ["sound", "extra"], ["probabilities"]),
        ]
    )
    content: bytes = proto.SerializeToString()
    return content


def constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def not_a_number() -> list[onnx.NodeProto]:
    values = constant("values", np.array([0.0, np.nan], np.float32))
    return [values, helper.make_node("Gather", ["values", "wrong"], ["extra"])]


def one_class(value: float) -> list[onnx.NodeProto]:
    """`value` for the last of two classes."""
    return [
        constant("odd", np.array([[0.0, value]], np.float32)),
        constant("nothing", np.array([[0.0, 0.0]], np.float32)),
        helper.make_node("Where", ["over", "odd", "nothing"], ["extra"]),
    ]


def raising() -> list[onnx.NodeProto]:
    """Looks up what is out of range."""
    values = constant("values", np.array([0.0], np.float32))
    return [values, helper.make_node("Gather", ["values", "wrong"], ["extra"])]


def slow() -> list[onnx.NodeProto]:
    """Multiplies a large matrix by itself."""
    return [
        constant("sizes", np.array([1, 900], np.int64)),
        constant("flat", np.array([-1], np.int64)),
        constant("zero", np.array(0.0, np.float32)),
        constant("one", np.array(1.0, np.float32)),
        helper.make_node("Gather", ["sizes", "wrong"], ["size"]),
        helper.make_node("Reshape", ["size", "flat"], ["side"]),
        helper.make_node("Concat", ["side", "side"], ["square"], axis=0),
        helper.make_node("Expand", ["one", "square"], ["matrix"]),
        helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
        helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["extra"]),
    ]
