"""The version of this package, which is that of the API that it speaks."""

from .models import API_VERSION

__version__ = API_VERSION
