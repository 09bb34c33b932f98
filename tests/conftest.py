"""What all tests share: a machine may be slow, so a property has no deadline; the suite as a whole has."""

from hypothesis import settings

settings.register_profile("millstream", deadline=None)
settings.load_profile("millstream")
