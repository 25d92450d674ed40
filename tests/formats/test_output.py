"""Nothing is lost, and nothing that is unfinished is left behind."""

import pytest

from byol_jax.errors import UserError
from byol_jax.formats import output


def test_a_file_appears_once_it_is_whole(tmp_path):
  path = tmp_path / "new" / "folder" / "file.txt"
  with output.new(path) as unfinished:
    unfinished.write_text("whole")
    assert not path.exists()
  assert path.read_text() == "whole"
  assert list(path.parent.iterdir()) == [path]


def test_a_folder_may_be_there_if_it_is_empty(tmp_path):
  path = tmp_path / "out"
  path.mkdir()
  with output.new(path) as unfinished:
    unfinished.mkdir()
    (unfinished / "file.txt").write_text("whole")
  assert (path / "file.txt").read_text() == "whole"


def test_a_failure_leaves_nothing(tmp_path):
  def write():
    with output.new(tmp_path / "file") as unfinished:
      unfinished.write_text("half")
      raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    write()
  assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
  (tmp_path / "file").write_text("mine")
  (tmp_path / "link").symlink_to(tmp_path / "nowhere")
  for path in (tmp_path, tmp_path / "file", tmp_path / "link"):
    with pytest.raises(UserError, match="is there already: choose another name"):
      output.check_new(path)


@pytest.mark.parametrize("path", ["", None, 5, b"file"])
def test_what_is_no_path(path):
  with pytest.raises(UserError, match="is no path: name the file or the folder to be"):
    output.check_new(path)


def test_a_name_that_is_too_long(tmp_path):
  with pytest.raises(UserError, match=r"cannot write .* \(File name too long"):
    output.check_new(tmp_path / ("x" * 300))


def test_a_place_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("mine")
  path = tmp_path / "file" / "encoder"
  message = r"cannot write .*/encoder \(File exists: .*/file\); choose another place"
  with pytest.raises(UserError, match=message), output.new(path):
    raise AssertionError
