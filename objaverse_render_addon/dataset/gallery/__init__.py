"""A static web page of a dataset that opens from disk."""

from .build import Gallery, build_gallery, open_gallery
from .failures import failures

__all__ = ["Gallery", "build_gallery", "failures", "open_gallery"]
