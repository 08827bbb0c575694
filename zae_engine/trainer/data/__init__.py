"""Data: loaders, data modules and devices. They know no trainer."""
