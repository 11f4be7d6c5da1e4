"""dandi-mirror: a self-hosted, scheduled, versioned mirror of the DANDI archive, made of DataLad datasets."""

__version__ = "0.1.0"
