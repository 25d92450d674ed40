"""Input: sources of images, host-side crops, batches, augmentation."""
