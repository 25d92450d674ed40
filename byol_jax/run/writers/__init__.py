"""Where a run's scalars go beside metrics.jsonl; none of it can stop a run."""
