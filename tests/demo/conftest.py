"""A hundredth of the flights, for everything that does not need them all."""

from __future__ import annotations

import lzma
from itertools import islice
from pathlib import Path

import pytest

from millstream.demo import data


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flights")
    with lzma.open(data.SOURCE, "rt", encoding="ascii") as whole, lzma.open(folder / "some.xz", "wt") as some:
        some.writelines(islice(whole, 1))
        some.writelines(islice(whole, 0, None, 100))
    data.build(folder / "flights.sqlite", source=folder / "some.xz")
    return folder / "flights.sqlite"
