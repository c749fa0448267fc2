"""Speaker frames in, facial reactions out: the streaming contract and every system that keeps it."""
