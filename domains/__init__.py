"""Data domains: each one turns its own files into a flow that ``ld3`` can integrate."""
