"""The middle: what a study is. Its schema, data sets, images, models, engine, probes, statistics.

Imports ``cache`` and never ``stages``. Modules that need torch import it inside functions or are
themselves imported only by stages that have something to compute: torch costs three seconds.
"""
