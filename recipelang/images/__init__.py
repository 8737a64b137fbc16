"""Pictures: found on disk, decoded, split honestly, augmented and handed out in batches."""
