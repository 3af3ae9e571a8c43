"""What the tests of the built-in model's recipe share."""

from pathlib import Path

import pytest

from sapiens_stream.training.plan import Plan

ASSETS = Path(__file__).parents[2] / "shared" / "synth" / "makehuman"


def require_renderer():
    """Skips a test where people cannot be rendered."""
    pytest.importorskip("anny", reason="the extra `train` is not installed")
    moderngl = pytest.importorskip("moderngl", reason="the extra `train` is not installed")
    if not ASSETS.exists():
        pytest.skip(f"MakeHuman's assets are not in {ASSETS}")
    try:
        moderngl.create_context(standalone=True, backend="egl").release()
    except Exception as error:
        pytest.skip(f"no OpenGL through EGL: {error}")


def small_plan(folder, **changes):
    """A run of a few seconds, all of whose data lies in one folder."""
    usual = {
        "cutouts": (folder,),
        "backgrounds": (folder,),
        "out": folder,
        "start": None,
        "seconds": 9,
        "sides": (96, 96),
        "batch": 2,
        "rate": 1e-3,
        "mixed": False,
        "levels": (0, 0),
        "workers": 0,
        "seed": 0,
    }
    return Plan(**usual | changes)
