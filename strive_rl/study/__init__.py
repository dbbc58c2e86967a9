"""Arms of settings trained and evaluated with the same seeds, and what each gains over the baseline.

plan    a study's file → its arms
paired  accuracies by arm and seed → means, paired differences, and their errors
run     one arm and seed after the other; resumes where it was stopped
"""

from strive_rl.study.paired import Comparison, comparisons
from strive_rl.study.plan import Arm, Study, read_study
from strive_rl.study.run import run_study, study_table

__all__ = ["Arm", "Comparison", "Study", "comparisons", "read_study", "run_study", "study_table"]
