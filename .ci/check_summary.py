"""Fails unless the main job learned: better than both baselines, no collapse."""

import json
import sys
from pathlib import Path

summary = json.loads(Path(sys.argv[1]).read_text())
assert summary["collapsed"] is False, "the representation has collapsed"
for probe in ("knn", "linear"):
  accuracy = summary[probe]
  for baseline in ("untrained", "pixels"):
    assert accuracy["encoder"] > accuracy[baseline], (probe, accuracy)
  print(f"{probe}: {accuracy}")
