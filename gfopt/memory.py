"""How much memory this process has ever held."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_resident() -> int:
    """Bytes, the largest resident size of this process so far; 0 on Windows, which offers no such figure by itself."""
    if sys.platform == "win32":
        return 0
    status = Path("/proc/self/status")
    if status.is_file():  # `getrusage` counts the process that started this one too, up to the moment of the exec
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
