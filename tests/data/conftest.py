import pytest

from tests import prepared


@pytest.fixture(scope="session")
def cifar10(tmp_path_factory):
  """A small set in the form of CIFAR-10, as array_record; not to be changed."""
  return prepared.write_cifar10(tmp_path_factory.mktemp("array_record"))
