"""Rows that are inside other values of a file: below keys of one JSON object, in lists of other rows, or the
questions of one conversation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from strive_data.annotations.apply_recipe import getter
from strive_data.annotations.json_values import or_error
from strive_data.annotations.recipes import IN_LIST, ROW, Recipe, Step, steps_of
from strive_data.annotations.rows import Block, Item, RowFile, bad_row, in_blocks, is_row, one_by_one
from strive_data.errors import SampleError, UsageError

Steps = tuple[Step, ...]


def inner_rows(file: RowFile) -> RowFile | None:
    """The file by the rows inside its one JSON object: the only list of objects, or the objects by their
    ids. None where there are none or several such lists. A row that is no object, among objects, is kept."""
    if file.tree is None or next(iter(file.items)).value is not file.tree:  # its columns are read already
        return None
    tree = file.tree
    lists = [key for key, value in tree.items() if isinstance(value, list) and _mostly_rows(value)]
    if len(lists) == 1:
        rows = partial(_descend, file.path, tree[lists[0]], [], {}, [lists[0]])
        return _with_rows(file, rows, f"rows under the key {lists[0]!r}")
    if lists or not tree:
        return None
    if _mostly_rows(tree.values()):
        return _with_rows(file, partial(_rows_by_id, file.path, tree), "rows by their ids")
    return None


def _with_rows(file: RowFile, rows: Callable[[], Iterator[Item]], guess: str) -> RowFile:
    return replace(file, items=one_by_one(rows), tree=None, guesses=(*file.guesses, guess))


def _mostly_rows(values: Collection[object]) -> bool:
    return 0 < len(values) <= 2 * sum(map(is_row, values))


def _rows_by_id(path: Path, tree: Mapping[str, object]) -> Iterator[Item]:
    for row, (key, fields) in enumerate(tree.items()):
        yield Item(
            path, f"key {key!r}", 0, row, {"id": key, **fields} if isinstance(fields, dict) else fields
        )


def blocks_of(file: RowFile, recipe: Recipe) -> Iterator[Block]:
    """`rows_of` in blocks, yet to be made exact."""
    items = rows_of(file, recipe)
    return file.items.blocks() if items is file.items else in_blocks(items)


def rows_of(file: RowFile, recipe: Recipe) -> Iterable[Item]:
    """The rows of a file by its recipe, one a question. Raises UsageError as `items_of`."""
    items = items_of(file, recipe.rows)
    if recipe.rows and ROW in recipe.fields.id:
        items = _numbered_by_name(items, recipe)
    asked, said = map(_paths, (recipe.fields.question, recipe.fields.answer))
    return _questions(items, asked, said) if any(map(_leads_to_messages, asked)) else items


def _numbered_by_name(items: Iterable[Item], recipe: Recipe) -> Iterator[Item]:
    """The rows with numbers that make their ids different: those of a second list of one name, as of one
    video, count on from the first."""
    name_of = getter("{@file}" + recipe.fields.id.replace(ROW, ""), recipe.video_folders)
    following = Counter[str]()
    for item in items:
        name = or_error(name_of, item, item.value) if isinstance(item.value, Mapping) else None
        if isinstance(name, str):
            item = item._replace(row=max(item.row, following[name]))
            following[name] = item.row + 1
        yield item


def _paths(field: str) -> list[Steps]:
    return [steps_of(path.strip()) for path in field.split("|")]


def _leads_to_messages(path: Steps) -> bool:
    """Whether a path is as that of "conversations[from=human].value"."""
    return len(path) == 3 and isinstance(path[0], str) and isinstance(path[1], tuple)


def _questions(items: Iterable[Item], asked: list[Steps], said: list[Steps]) -> Iterator[Item]:
    """The items, and in place of a conversation one for each question. A row whose answer is elsewhere, or
    that has options, is left whole."""
    for item in items:
        row = item.value
        if isinstance(row, Mapping) and (path := _path_to_several(row, asked)):
            answer = next((path for path in said if row.get(str(path[0])) is not None), ())
            if answer[:1] == path[:1] and not row.get("options"):  # whose would they be?
                yield from _turns(item.exact(), path)
                continue
        yield item


def _path_to_several(row: Mapping[str, object], asked: list[Steps]) -> Steps:
    """The path by which the row has its question, if it leads to several; else ()."""
    for path in asked:
        if not _leads_to_messages(path):
            if row.get(str(path[0])) is not None:
                return ()
        elif places := _messages(row, path):
            return path if len(places) > 1 else ()
    return ()


def _turns(item: Item, path: Steps) -> Iterator[Item]:
    """An item for each question of a conversation: the messages from it up to the next one.

    Videos and images within the first question belong to all.
    """
    row, name, content = item.value, str(path[0]), str(path[2])
    if not isinstance(row, Mapping):
        yield item
        return
    messages, starts = row[name], _messages(row, path)
    media = [part for part in _parts(messages[starts[0]].get(content)) if "text" not in part]
    for turn, (start, end) in enumerate(zip([0, *starts[1:]], [*starts[1:], len(messages)], strict=True)):
        first, *rest = messages[start:end]
        if turn and media:
            first = {**first, content: [*media, *_parts(first.get(content))]}
        unit = f"{item.unit} {item.number} turn" if item.number else f"{item.unit} turn"
        yield item._replace(
            unit=unit, number=turn + 1, value={**row, name: [first, *rest]}, raw=b"", turn=f"-{turn}"
        )


def _messages(row: Mapping[str, object], path: tuple[Step, ...]) -> list[int]:
    """The places of one side's messages in their list."""
    messages = row.get(str(path[0]))
    if not isinstance(messages, list) or not isinstance(path[1], tuple):
        return []
    key, side = path[1]
    return [at for at, each in enumerate(messages) if isinstance(each, Mapping) and each.get(key) == side]


def _parts(content: object) -> list[Mapping[str, object]]:
    """A message's content in parts; a text is one."""
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return [part for part in parts if isinstance(part, Mapping)]


def items_of(file: RowFile, steps: str) -> Iterable[Item]:
    """The rows of a file that a recipe's `rows` lead to. Raises UsageError where they do not fit the file."""
    if not steps:
        return file.items
    if steps.startswith(IN_LIST):
        return _items_in_list(file, steps.removeprefix(IN_LIST))
    if file.tree is None:
        raise UsageError(
            f"annotation {file.path}: got a list or a table, expected one JSON object that leads to the rows "
            f"by {steps}, as the recipe says"
        )
    return nested_items(file.path, file.tree, steps)


def _items_in_list(file: RowFile, steps: str) -> Iterator[Item]:
    """The rows below each object of a list; texts and numbers beside them become fields of the rows."""
    for item in file.items:
        if not isinstance(item.value, Mapping):
            yield item
            continue
        above = {name: value for name, value in item.value.items() if isinstance(value, str | int | float)}
        for row in _descend(file.path, item.value, steps.split("/"), {}, [f"{item.unit} {item.number}"]):
            yield row._replace(value={**above, **row.value}) if isinstance(row.value, Mapping) else row


def nested_items(path: Path, tree: Mapping[str, object], steps: str) -> Iterator[Item]:
    """The rows that `steps` ("{video_id}/{dimension}") lead to; what does not fit them is one bad item."""
    yield from _descend(path, tree, steps.split("/"), {}, [])


def _descend(
    path: Path, value: object, steps: Sequence[str], names: Mapping[str, str], keys: Sequence[str]
) -> Iterator[Item]:
    where = "/".join(keys)
    if not steps and value and isinstance(value, Mapping) and all(map(is_row, value.values())):
        value = list(value.values())  # rows by their numbers: {"0": {...}, "1": {...}}
    if isinstance(value, SampleError) or not isinstance(value, Mapping if steps else list):
        wanted = "an object" if steps else "a list of rows"
        problem = value.message if isinstance(value, SampleError) else f"expected {wanted}"
        yield Item(path, where, 0, 0, bad_row(problem))
    elif isinstance(value, Mapping):
        step, rest = steps[0], steps[1:]
        if step.startswith("{"):
            for key, below in value.items():
                yield from _descend(path, below, rest, {**names, step.strip("{}"): key}, [*keys, key])
        elif "&" in step:
            yield from _parallel_rows(path, value, step.split("&"), names, where)
        elif step in value:
            yield from _descend(path, value[step], rest, names, [*keys, step])
        else:
            yield Item(path, where, 0, 0, bad_row(f"{step} is missing"))
    elif isinstance(value, list):
        for row, fields in enumerate(value):
            merged = {**fields, **names} if isinstance(fields, Mapping) else fields
            yield Item(path, f"{where} item", row + 1, row, merged)


def _parallel_rows(
    path: Path, value: Mapping[str, object], fields: Sequence[str], names: Mapping[str, str], where: str
) -> Iterator[Item]:
    """A row of each place in the lists called `fields`, with the object's other fields."""
    lists = [each for field in fields if isinstance(each := value.get(field), list)]
    if len(lists) < len(fields) or len({len(each) for each in lists}) > 1:
        yield Item(path, where, 0, 0, bad_row(f"expected lists of one length as {', '.join(fields)}"))
        return
    for row, values in enumerate(zip(*lists, strict=True)):
        merged = {**value, **dict(zip(fields, values, strict=True)), **names}
        yield Item(path, f"{where} item", row + 1, row, merged)
