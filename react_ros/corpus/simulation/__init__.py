"""Simulated dyads: one invented person tells a story, another invented person listens. Data about nobody."""

from react_ros.corpus.simulation.dyads import simulate
from react_ros.corpus.simulation.session import SimulatedPerson, SimulatedSession, simulate_session

__all__ = ["SimulatedPerson", "SimulatedSession", "simulate", "simulate_session"]
