"""One typed door to Numba.

Kernels are plain Python functions over primitive arrays and structured rows; :func:`compiled` turns them into machine
code and keeps the result on disk. ``NUMBA_DISABLE_JIT=1`` runs the same source in plain Python, which tests use to show
that both give the same bits. Fast-math stays off and no kernel reorders a sum, for the same reason.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` on first call (``nogil``, cached on disk), keeping its signature for the type checker.

    Where no cache directory can be written (a read-only root file system without ``NUMBA_CACHE_DIR``) the kernel is
    compiled anew by each process: slower to start, otherwise the same.
    """
    try:
        kernel = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no writable place for its cache
        kernel = numba.njit(nogil=True, error_model="numpy")(function)
    return cast("Callable[P, R]", kernel)
