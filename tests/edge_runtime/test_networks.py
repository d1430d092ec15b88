from __future__ import annotations

from tests.edge_runtime import networks
from tests.edge_runtime.networks.write import contents


def test_the_files_are_what_the_schemas_write() -> None:
    assert {kind: networks.path(kind).read_bytes() for kind in networks.FILES} == contents()
