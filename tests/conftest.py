"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ddfad_data():
    """Folder of the real recordings; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("DDFAD_DATA")
    if not folder:
        pytest.skip("DDFAD_DATA does not name a folder of real recordings")
    return Path(folder)
