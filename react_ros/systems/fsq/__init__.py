"""FSQ tokens and the cross-modality transformer (Dam et al. 2024), the learned listener that is live by default."""
