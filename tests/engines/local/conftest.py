import pytest

from tersely.engines.local.kernel import load_kernel


@pytest.fixture
def kernel():
    found = load_kernel()
    if found is None:
        pytest.skip("no C compiler here")
    return found
