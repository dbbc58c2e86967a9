from __future__ import annotations

from strive_data.decode.damage import Damage


def test_damage_reaches_what_is_decoded_after_it_from_the_same_key_frame() -> None:
    damage = Damage(faults={14: ValueError()}, marked={25})
    reached = [place for place in range(10, 20) if damage.reaches(10, place)]
    assert reached == [14, 15, 16, 17, 18, 19]
    assert not damage.reaches(20, 24)
    assert damage.reaches(20, 25)
    assert not damage.reaches(30, 39)
    assert not Damage().reaches(0, 99)
