"""Join finished builds of equal settings into one."""

from strive_data.merge.join import MergeSummary, merge_builds, summary_lines

__all__ = ["MergeSummary", "merge_builds", "summary_lines"]
