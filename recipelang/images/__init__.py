"""Images: found on disk, decoded, split without leaks, augmented and handed out in batches."""
