"""Latent diffusion behind a multi-modality transformer (Li et al., ReactDiff), with listener reaction shifts."""
