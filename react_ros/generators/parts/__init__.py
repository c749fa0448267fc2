"""What learned systems share: their inputs, quantizers, attention with caches, the device, the format of weights."""
