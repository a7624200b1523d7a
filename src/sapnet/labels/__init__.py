"""From picks to a label file."""
