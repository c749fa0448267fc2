"""World B: simulated people made by other means than those of world A, for figures; nothing is trained on it."""
