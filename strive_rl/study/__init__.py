"""Arms of settings trained and evaluated with the same seeds, and what each gains over the baseline.

plan     a study's file → its arms
run      one arm and seed after the other; resumes where it was stopped
results  accuracies by arm and seed → means, paired differences, and their errors
"""
