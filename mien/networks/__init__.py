"""The networks: backbones, masks and decoder as torch modules, and the registry of all networks."""
