"""Network parts that name no system: attention, quantizers, diffusion, denoisers, devices, weights."""
