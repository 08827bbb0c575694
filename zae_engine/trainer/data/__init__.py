"""Data: loaders, data modules and devices. Nothing here imports a trainer."""
