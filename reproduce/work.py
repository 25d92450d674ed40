"""Does what is not complete: trains an arm, makes a study."""

import importlib
import subprocess
import sys
from pathlib import Path

from absl import logging

from byol_jax.rundir import write_json
from reproduce import arms, provenance, results


def train(run: arms.Run, root: Path, data_dir: str | None) -> None:
  """Trains an arm, or what is left of it; one that fails stops no other."""
  folder = run.folder(root)
  if (folder / "summary.json").exists():
    return
  command = [sys.executable, "-m", "byol_jax.main", *run.flags()]
  command += [f"--workdir={folder}"]
  if data_dir:
    command += [f"--config.data.data_dir={data_dir}"]
  log = root / "logs" / f"{folder.name}.txt"
  log.parent.mkdir(parents=True, exist_ok=True)
  logging.info("%s", " ".join(command[1:]))
  provenance.write(root, folder.name)
  with log.open("a") as file:
    process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
      code = process.wait()
    except KeyboardInterrupt:
      process.wait()  # It is interrupted too, and saves.
      raise
  if code:
    *_, last = log.read_text().splitlines() or [""]
    logging.warning("%s ended with %d: %s", folder.name, code, last)


def study(name: str, root: Path, data_dir: str | None) -> None:
  """Makes a study whose result is not there yet."""
  path = results.study_path(root, name)
  if path.exists():
    return
  logging.info("%s", name)
  found = importlib.import_module(f"reproduce.{name}").measure(root, data_dir)
  if found:
    provenance.write(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
