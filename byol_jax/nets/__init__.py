"""Networks: the layers they are made of, the encoder and the heads."""
