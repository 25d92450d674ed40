"""What byol_jax costs, beside what others do: see docs/benchmarks.md."""
