"""What the networks are trained for: losses, penalties, augmentation."""
