"""BeLFusion: diffusion in the latent space of a variational autoencoder (Barquero et al. 2023)."""
