"""What evaluations of a pretrained encoder are made of."""
