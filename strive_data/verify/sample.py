"""The bytes of one sample → the sample, and everything that is wrong with them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import zip_longest

from strive_data.config import BuildSettings
from strive_data.errors import DamagedError
from strive_data.sample_tar import BLOCK_BYTES, Member, decode_sample, sample_members, tar_members
from strive_data.schema import Sample
from strive_data.verify.rules import broken_frames, broken_rules

MODE = 0o644


def check_sample(
    block: bytes, sample_id: str, settings: BuildSettings
) -> tuple[Sample | None, list[tuple[int, str]]]:
    """The sample of these tar bytes, None where they hold none, and (byte in the block, what is wrong)."""
    try:
        sample = decode_sample(block)
    except DamagedError as error:
        return None, [(0, str(error))]
    members = list(tar_members(block))
    found = [*_of_tar(block, members), *_of_members(members, sample)]
    written = sample.meta.question.sample_id
    if written != sample_id:
        found.append((0, f"json: the sample calls itself {written!r}"))
    if members[0].key != sample.key:
        found.append((0, f"members are called {members[0].key}, expected {sample.key}"))
    found += [(0, rule) for rule in broken_rules(sample, settings)]
    place = {member.suffix: member.offset for member in members}
    for slot, what in broken_frames(sample, settings):
        name = f"f{slot:04d}.jpg"
        found.append((place[name], f"{name}: {what}"))
    return sample, found


def tar_header(name: str, size_bytes: int) -> bytes:
    """The only header that a member may have: mtime 0, uid and gid 0, no names, mode 0644, a plain file."""
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size_bytes, MODE, 0
    return header.tobuf(tarfile.USTAR_FORMAT)


def _of_tar(block: bytes, members: list[Member]) -> Iterator[tuple[int, str]]:
    """Headers and padding that are not those of the contract; bytes behind the last member."""
    end = 0
    for member in members:
        start = member.offset + BLOCK_BYTES
        if block[member.offset : start] != tar_header(member.name, len(member.content)):
            yield member.offset, f"{member.suffix}: its header differs in time, owner, mode or checksum"
        last = start + len(member.content)
        end = last + -len(member.content) % BLOCK_BYTES
        if any(block[last:end]):
            yield last, f"{member.suffix}: the padding behind it is not zero"
    if end != len(block):
        yield end, f"{len(block) - end} bytes behind the last member"


def _of_members(members: list[Member], sample: Sample) -> Iterator[tuple[int, str]]:
    """Members out of order, or not in the one form that they are written in."""
    for member, written in zip_longest(members, sample_members(sample)):
        if member is None or written is None or member.suffix != written[0]:
            order = ", ".join(name for name, _ in sample_members(sample))
            yield member.offset if member else 0, f"members are not in the order {order}"
            return
        if bytes(member.content) != written[1]:
            yield member.offset, f"{member.suffix}: not in the form that the package writes"
