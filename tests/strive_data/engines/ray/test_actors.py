from __future__ import annotations

from strive_data.engines.ray.actors import CALLS_AN_ACTOR, Actors


def test_calls_go_to_the_actor_with_the_fewest() -> None:
    actors = Actors(["a", "b"])
    taken = [actors.take() for _ in range(3)]
    assert taken == [(0, "a"), (1, "b"), (0, "a")]
    actors.give_back(0)
    actors.give_back(0)
    assert actors.take() == (0, "a")


def test_there_is_room_until_every_actor_has_its_calls() -> None:
    actors = Actors(["a", "b"])
    for _ in range(len(actors) * CALLS_AN_ACTOR):
        assert actors.has_room()
        actors.take()
    assert not actors.has_room()
    actors.give_back(1)
    assert actors.has_room()


def test_an_actor_that_rests_gets_no_call() -> None:
    actors = Actors(["a", "b"])
    assert actors.rest(0) == "a"
    assert (actors.is_awake(0), actors.is_awake(1)) == (False, True)
    assert [actors.take()[1] for _ in range(2)] == ["b", "b"]
    assert not actors.has_room()
    actors.wake(0)
    assert actors.has_room()
    assert actors.take() == (0, "a")
