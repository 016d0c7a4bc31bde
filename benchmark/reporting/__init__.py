"""Results beside one another and beside the paper: leaderboards, reproductions, generated parts of texts."""
