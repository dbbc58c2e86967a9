"""Join finished builds of equal settings into one."""

from strive_data.merge.plan import DUPLICATES, Duplicates, some_of
from strive_data.merge.whole import MergeSummary, merge_builds

__all__ = ["DUPLICATES", "Duplicates", "MergeSummary", "merge_builds", "some_of"]
