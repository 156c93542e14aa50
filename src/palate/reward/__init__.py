"""Learning rewards: from rankings, from grades, and telling real images from generated ones."""
