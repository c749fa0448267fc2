"""The responsiveness gate: generators before clips of real speakers, without a recorded listener."""
