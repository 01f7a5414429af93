"""Model files that cannot run code: skops under an allow-list that never comes from the file."""

from base.model_files.allow_list import NEVER_TRUSTED, TRUSTED_TYPES
from base.model_files.reading import ModelFileRefused, load_model
from base.model_files.writing import dump_model

__all__ = ["NEVER_TRUSTED", "TRUSTED_TYPES", "ModelFileRefused", "dump_model", "load_model"]
