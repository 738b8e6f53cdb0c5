"""Profiles of the property tests: quick in make test, deep in make soak."""

import os

from hypothesis import HealthCheck, settings

_SLOW_OK = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile("test", max_examples=100, deadline=None, suppress_health_check=_SLOW_OK)
settings.register_profile("soak", max_examples=2_000, deadline=None, suppress_health_check=_SLOW_OK)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
