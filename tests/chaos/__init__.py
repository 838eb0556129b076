"""Faults on purpose. ``BASCULE_CHAOS_TIMES=5 pytest tests/chaos`` tries random moments five times as often.

What was tried is counted and printed at the end (fixture ``tried``).
"""

import os

TIMES = max(1, int(os.environ.get("BASCULE_CHAOS_TIMES", "1")))
