"""What nobody owns any more: found, explained, removed."""
