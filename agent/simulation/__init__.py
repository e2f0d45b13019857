"""Active-learning curves on a labeled data set: labels start hidden, each cycle trains, ranks and reveals a batch.

`agent.simulation.grid.simulate` runs them, `agent.simulation.config.SimulationConfig` says which.
"""
