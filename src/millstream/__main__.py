"""`python -m millstream` is `millstream`."""

from __future__ import annotations

from millstream.cli import main

main()
