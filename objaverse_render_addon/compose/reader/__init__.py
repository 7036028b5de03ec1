"""The second reader: proves sentences by the files alone.

It shares nothing with what wrote them, neither geometry nor words: it reads the pictures' arrays,
the cameras and the table of objects, parses each *sentence* with a grammar of its own, decides with
geometry of its own at half the margins, and has to find exactly the stated targets.
"""

from __future__ import annotations

from .check import Verdict, read_unit

__all__ = ["Verdict", "read_unit"]
