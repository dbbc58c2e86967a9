from __future__ import annotations

from strive_rl.benchmarks.readers.prediction import text_key, video_key


def test_videos_are_told_by_their_name_and_questions_by_their_words() -> None:
    assert video_key("./videos/AbC.mp4") == video_key("abc.MKV") == video_key("data\\abc") == "abc"
    assert text_key("Who\nruns?", ("A. he", "(B) she")) == text_key("who runs\nA) he\nB. she")
    assert text_key("Who runs?") != text_key("Who ran?")
