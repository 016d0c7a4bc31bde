"""Results compared with one another and with the paper: leaderboards, reproductions, generated parts of texts."""
