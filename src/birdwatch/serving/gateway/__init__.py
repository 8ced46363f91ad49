"""HTTP in front of the streams, in two protocols: what is asked goes on ``requests``, the answer comes from ``results``."""
