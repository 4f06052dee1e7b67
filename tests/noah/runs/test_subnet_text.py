"""What a person types after --subnet: every spelling that is understood, and a clear error for each slip."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.errors import UsageError
from noah.runs.published_subnets import published_names, published_subnet
from noah.runs.subnet_text import LARGEST_FILE, LARGEST_WIDTH, parse_subnet, spell_subnet, spell_widths
from noah.space.kinds import GROUPS, KINDS, PUBLISHED
from noah.space.subnet import Subnet
from tests.noah.strategies import subnets

WIDTHS = st.integers(1, LARGEST_WIDTH)


def refusal(text: str, depth: int = 12) -> UsageError:
    """The error of a text, which takes two lines at most."""
    with pytest.raises(UsageError) as caught:
        parse_subnet(text, depth=depth)
    assert caught.value.problem.startswith("--subnet")
    assert len(str(caught.value).splitlines()) == 2
    return caught.value


class TestWords:
    @given(st.dictionaries(st.sampled_from(PUBLISHED), WIDTHS, min_size=1), st.integers(1, 24), st.data())
    def test_widths_hold_in_every_block(self, widths: dict[str, int], depth: int, data: st.DataObject) -> None:
        blank = st.sampled_from(["", " "])
        parts = [
            f"{data.draw(blank)}{module.upper() if data.draw(st.booleans()) else module}:{data.draw(blank)}{width}"
            for module, width in widths.items()
        ]
        assert parse_subnet("+".join(parts), depth=depth) == Subnet.uniform(depth, **widths)

    @given(st.dictionaries(st.sampled_from(list(KINDS)), WIDTHS, min_size=1))
    def test_what_is_spelled_is_read_again(self, widths: dict[str, int]) -> None:
        widths = {kind: 1 if KINDS[kind].is_switch else width for kind, width in widths.items()}
        assert parse_subnet(spell_widths(widths), depth=3) == Subnet.uniform(3, **widths)

    @given(subnets(depth=3))
    def test_a_subnet_of_like_blocks_is_spelled_to_be_read_again(self, subnet: Subnet) -> None:
        for depth in (1, 3):
            alike = Subnet.uniform(depth, **subnet.block(0))
            assert parse_subnet(spell_subnet(alike), depth=depth) == alike
        if any(subnet.block(index) != subnet.block(0) for index in range(subnet.depth)):
            assert spell_subnet(subnet) == f"{'+'.join(subnet.kinds)}, block by block"

    @pytest.mark.parametrize("text", ["linear", " Linear "])
    def test_linear_has_no_module(self, text: str) -> None:
        assert parse_subnet(text, depth=5) == Subnet.uniform(5)

    @pytest.mark.parametrize("name", published_names())
    def test_published_subnets(self, name: str) -> None:
        assert parse_subnet(f" Published: {name}", depth=12) == published_subnet(name)

    @pytest.mark.parametrize("width", [1, LARGEST_WIDTH])
    def test_the_bounds_belong_to_the_range(self, width: int) -> None:
        assert parse_subnet(f"lora:{width}", depth=2).lora == (width, width)
        assert parse_subnet(f"lora:000000000000{width}", depth=2).lora == (width, width)


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("", "--subnet: nothing is given", "lora:8"),
        ("   ", "--subnet: nothing is given", "lora:8"),
        ("lroa:8", "lroa:8 is neither a module nor a file", "Did you mean lora?"),
        ("adaptor:8", "adaptor:8 is neither a module nor a file", "Did you mean adapter?"),
        ("zzz", "zzz is neither a module nor a file", "Write it as lora:8"),
        ("zzz", "zzz is neither a module nor a file", ", ".join((*KINDS, *GROUPS))),
        ("loraall:8", "loraall:8 is neither a module nor a file", "Did you mean lora_all?"),
        ("adapter-plus:8", "adapter-plus:8 is neither a module nor a file", "Did you mean adapter_plus?"),
        ("biases", "biases is neither a module nor a file", "Did you mean bias?"),
        ("BitFit", "BitFit is neither a module nor a file", "Did you mean bias?"),
        ("ssf", "ssf is neither a module nor a file", "Did you mean scale_shift?"),
        ("repadapter:8", "repadapter:8 is neither a module nor a file", "Did you mean linear_adapter_attention?"),
        ("bias:", "the width of bias is missing", "Write bias alone"),
        ("bias:on", "the width of bias is not a whole number", "Write bias alone"),
        ("bias:4", "bias has no width", "Write bias alone"),
        ("bias:0", "the width of bias is 0", "Leave bias out"),
        ("bias+bias", "bias is given twice", "Give bias once."),
        ("lora_all:2+lora_fc1:4", "lora_fc1 is given twice", "Give lora_fc1 once; lora_all has it, too."),
        ("8", "8 is neither", "Write it as lora:8"),
        (":8", ":8 is neither", "Write it as lora:8"),
        ("lora", "the width of lora is missing", "lora:8"),
        ("lora:", "the width of lora is missing", "lora:8"),
        ("lora:8+adapter", "the width of adapter is missing", "adapter:8"),
        ("lora:0", "the width of lora is 0", "write linear"),
        ("lora:-0", "the width of lora is 0", "write linear"),
        ("lora:8+prompt:000", "the width of prompt is 0", "Leave prompt out"),
        ("lora:-3", "the width of lora is negative", "lora:8"),
        ("lora:-" + "9" * 9999, "the width of lora is negative", "lora:8"),
        ("lora:1001", "the width of lora is above 1,000", "lora:8"),
        ("lora:1000000000", "the width of lora is above 1,000", "lora:8"),
        ("prompt:" + "9" * 9999, "the width of prompt is above 1,000", "prompt:8"),
        ("lora:8.5", "not a whole number", "lora:8"),
        ("lora:1e2", "not a whole number", "lora:8"),
        ("lora:-", "not a whole number", "lora:8"),
        ("lora:--8", "not a whole number", "lora:8"),
        ("lora:0x8", "not a whole number", "lora:8"),
        ("lora:1_0", "not a whole number", "lora:8"),
        ("lora:٣", "not a whole number", "lora:8"),
        ("lora:eight", "not a whole number", "lora:8"),
        ("lora:8:8", "not a whole number", "lora:8"),
        ("lora:8 adapter:4", "not a whole number", "lora:8"),
        ("lora:8,adapter:4", "not a whole number", "lora:8"),
        ("lora:8+", "nothing on one side of a +", "lora:8+adapter:4"),
        ("+lora:8", "nothing on one side of a +", "lora:8+adapter:4"),
        ("lora:8+lora:4", "lora is given twice", "Give lora once"),
        ("linear:3", "linear stands alone", "linear"),
        ("linear+lora:8", "linear stands alone", "linear"),
        ("lora:8+linear", "linear stands alone", "linear"),
        ("published:cifar+lora:8", "cannot be joined", "published:cifar"),
        ("lora:8+published:cifar", "cannot be joined", "published:cifar"),
        ("some.json+lora:8", "cannot be joined", "FILE.json"),
        ("published", "the name of the published subnet is missing", "published:cifar"),
        ("missing.json", "there is no such file", "Check the path"),
        ("lora:8\nrm -rf", "not a whole number", "lora:8"),
    ],
)
def test_each_slip_has_its_own_error(text: str, problem: str, hint: str) -> None:
    error = refusal(text)
    assert problem in error.problem
    assert hint in error.hint


@given(st.text() | st.from_regex(r"(lora|adapter|prompt|linear|published|\+|:|-|[0-9]| )*", fullmatch=True))
def test_any_text_is_a_subnet_or_a_usage_error(text: str) -> None:
    try:
        assert parse_subnet(text, depth=3).depth == 3
    except UsageError as error:
        assert error.hint
        assert len(str(error).splitlines()) == 2


def test_a_published_subnet_is_unknown() -> None:
    with pytest.raises(UsageError, match="No published subnet is named 'cifra'") as caught:
        parse_subnet("published:cifra", depth=12)
    assert "Did you mean cifar?" in caught.value.hint


def test_another_depth_is_told_with_both() -> None:
    problem = refusal("published:cifar", depth=24).problem
    assert problem == "--subnet published:cifar: it is for 12 blocks, and the backbone has 24."


def write(folder: Path, content: Any, name: str = "best.json") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(path)


class TestFiles:
    @given(st.integers(1, 13).flatmap(subnets), st.sampled_from(["alone", "best", "manifest"]), st.booleans())
    def test_a_subnet_is_read_where_programs_write_it(
        self, tmp_path_factory: pytest.TempPathFactory, subnet: Subnet, kind: str, mark: bool
    ) -> None:
        widths = subnet.to_json()
        content = {
            "alone": widths,
            "best": {"index": 3, "subnet": widths, "score": {"accuracy": 0.5}},
            "manifest": {"format": "onnx", "classes": ["a", "b"], "subnet": widths, "parameters": 7},
        }[kind]
        text = json.dumps(content).encode("utf-8-sig" if mark else "utf-8")
        path = write(tmp_path_factory.mktemp("run"), text, "a+b:c.JSON")
        assert parse_subnet(f" {path} ", depth=subnet.depth) == subnet

    def test_another_depth_is_told_with_both(self, tmp_path: Path) -> None:
        problem = refusal(write(tmp_path, Subnet.uniform(4, lora=2).to_json())).problem
        assert "4 blocks" in problem
        assert "the backbone has 12" in problem

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b"\xff\xfe", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"{'prompt': [1]}", "not JSON"),
            ([1, 2], "holds no subnet"),
            (b"3", "holds no subnet"),
            ({}, "holds no subnet"),
            ({"subnet": None}, "holds no subnet"),
            ({"subnet": "lora:8"}, "holds no subnet"),
            ({"subnet": '{"prompt": [1], "lora": [1], "adapter": [1]}'}, "holds no subnet"),
            (
                {"subnet": {"prompt": [1]}},
                "expected the keys prompt, lora and adapter, whatever other kinds there are; found: prompt.",
            ),
            ({"bias": [1]}, "expected the keys prompt, lora and adapter, whatever other kinds there are; found: bias."),
            ({"prompt": [1], "lora": [1]}, "expected the keys"),
            ({"prompt": [1], "lora": [1], "adapter": [1], "more": 1}, "no kind of module is called 'more'; there are"),
            ({"prompt": [1], "lora": [1], "adapter": [1], "biass": [1]}, "called 'biass'; the nearest is bias."),
            ({"promt": [1], "lora": [1], "adapter": [1]}, "the nearest is prompt, and 1 more such problem"),
            ({"prompt": [1], "lora": [1], "adapter": [1], "x" * 5000: [1]}, "no kind of module is called 'xxx"),
            ({"prompt": [1], "lora": [1], "adapter": [1], "bias": 1}, "bias is no list of widths, one per block"),
            ({"prompt": [1], "lora": [1], "adapter": [1], "bias": [1, 1]}, "one width per block"),
            ({"prompt": 1, "lora": 1, "adapter": 1}, "is no list of widths"),
            ({"prompt": "1", "lora": "1", "adapter": "1"}, "is no list of widths"),
            ({"prompt": [1, 2], "lora": [1], "adapter": [1]}, "one width per block"),
            ({"prompt": [], "lora": [], "adapter": []}, "one width per block"),
            ({"prompt": [1], "lora": [-1], "adapter": [1]}, "lora has the width -1 in block 0"),
            ({"prompt": [1.0], "lora": [None], "adapter": ["x"]}, "in block 0; a width is a whole number"),
            ({"prompt": [True], "lora": [1], "adapter": [1]}, "prompt has the width True"),
            ({"prompt": [-1] * 5, "lora": [1] * 5, "adapter": [1] * 5}, "and 4 more such problems"),
            ({"prompt": [1], "lora": [1001], "adapter": [1]}, "a width of lora is above 1,000"),
            ({"prompt": [10**30], "lora": [1], "adapter": [1]}, "a width of prompt is above 1,000"),
            ({"prompt": [["x" * 5000]], "lora": [1], "adapter": [1]}, "prompt has the width"),
            (b'{"prompt": [' + b"1" * 5000 + b'], "lora": [1], "adapter": [1]}', "not JSON"),
        ],
    )
    def test_a_file_that_holds_no_subnet(self, tmp_path: Path, content: Any, problem: str) -> None:
        path = write(tmp_path, content)
        error = refusal(path, depth=1)
        assert problem in error.problem
        assert len(error.problem) < 500 + len(path)

    def test_a_large_file_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        widths = json.dumps(Subnet.uniform(2, lora=3).to_json()).encode()
        assert parse_subnet(write(tmp_path, widths.ljust(LARGEST_FILE)), depth=2).lora == (3, 3)
        assert "larger than 32 MiB" in refusal(write(tmp_path, widths.ljust(LARGEST_FILE + 1)), depth=2).problem
        huge = tmp_path / "huge.json"
        with huge.open("wb") as file:
            file.truncate(1 << 40)  # a sparse terabyte, which could not be read
        assert "larger than 32 MiB" in refusal(str(huge)).problem

    def test_what_is_no_regular_file_is_not_opened(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe.json"
        os.mkfifo(pipe)  # to open it would wait for ever
        assert "there is no such file" in refusal(str(pipe)).problem
        (tmp_path / "folder.json").mkdir()
        assert "there is no such file" in refusal(str(tmp_path / "folder.json")).problem

    def test_odd_paths(self) -> None:
        assert "cannot be read" in refusal("x" * 5000 + ".json").problem
        assert "there is no such file" in refusal("x\0y.json").problem

    def test_python_in_a_file_does_not_run(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        refusal(write(tmp_path, f"__import__('pathlib').Path({str(trace)!r}).touch()".encode()))
        assert not trace.exists()
