import pytest

from hcvae.evaluation import EvaluationRows, own_rows


@pytest.fixture(scope="session")
def test_rows(trained_bundle) -> EvaluationRows:
    return own_rows(trained_bundle, "test")
