from __future__ import annotations

import subprocess
import sys

import pytest

from millstream.codecs.arrow import Arrow
from millstream.codecs.parquet import Parquet
from millstream.codecs.recordbatches import RecordBatchCodec
from millstream.errors import ConfigurationError


@pytest.mark.parametrize("codec", [Arrow, Parquet])
def test_a_missing_pyarrow_is_one_sentence_at_start_up(
    codec: type[RecordBatchCodec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"^the codec '\w+' needs pyarrow.*'millstream\[arrow\]'$"):
        codec.check_options({})


def test_the_catalogue_imports_no_pyarrow() -> None:
    code = "import sys, millstream.codecs.catalogue; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  our own code
    assert done.stdout.strip() == "False"
