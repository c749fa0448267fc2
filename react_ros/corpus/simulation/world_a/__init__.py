"""World A: simulated people whose faces and voices have the statistics of real ones. Listeners are trained on it."""
