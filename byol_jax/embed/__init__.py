"""Features of images as files, and what can be drawn of them.

`python -m byol_jax.embed --help` is the command; `byol_jax.write_features` and
`byol_jax.read_features` are its functions.
"""
