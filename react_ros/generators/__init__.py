"""The streaming contract, the registry, and what generators share: action chunks, noise, idle life, speaker inputs."""
