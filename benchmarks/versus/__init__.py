"""Throughput of training beside other libraries, on one task of EnvPool's."""
