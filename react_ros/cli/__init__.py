"""The command line, `react-ros`: every command, the demo, doctor and the benchmarks."""
