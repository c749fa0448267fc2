"""Simulated dyads: an invented speaker tells a story to an invented listener. No data about people."""

from react_ros.corpus.simulation.dyads import simulate
from react_ros.corpus.simulation.session import SimulatedPerson, SimulatedSession, simulate_session

__all__ = ["SimulatedPerson", "SimulatedSession", "simulate", "simulate_session"]
