"""VQ-Diff: diffusion in the latent space of a vector-quantized autoencoder (Nguyen et al. 2024)."""
