"""Bad configuration ends in one line; good configuration comes back exactly."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from tests.run.configs import FileConfig, OuterConfig, ToyConfig
from understudy.run.config import ConfigError, RunConfig, dump, load
from understudy.run.fields import leaves

BAD_FLAGS = {
    "--learning_rte 0.1": "unknown flag '--learning_rte'; did you mean '--learning_rate'?",
    "--learning-rate 0.1": "unknown flag '--learning-rate'; did you mean '--learning_rate'?",
    "--root x": "unknown flag '--root'; did you mean '--run.root'?",
    "--run.rot x": "unknown flag '--run.rot'; did you mean '--run.root'?",
    "--run x": "unknown flag '--run'",
    "--debg": "unknown flag '--debg'; did you mean '--debug'?",
    "--st 4": "unknown flag '--st'",
    "--qwxyz=4": "unknown flag '--qwxyz'; --help lists the valid names",
    "--steps.a 1": "unknown flag '--steps.a'",
    "--steps": "--steps needs a value",
    "--config": "--config needs a value",
    "--config a --config b": "--config is given twice",
    "--steps ten": "--steps must be an integer ≥ 1, not 'ten'",
    "--steps 1.5": "--steps must be an integer ≥ 1, not '1.5'",
    "--steps 0": "--steps must be an integer ≥ 1, not '0'",
    "--steps true": "--steps must be an integer ≥ 1, not 'true'",
    "--seed -1": "--seed must be an integer ≥ 0, not '-1'",
    "--learning_rate 0": "--learning_rate must be a number > 0, not '0'",
    "--learning_rate nan": "--learning_rate must be a number > 0, not 'nan'",
    "--learning_rate NaN": "--learning_rate must be a number > 0, not 'NaN'",
    "--learning_rate Infinity": "--learning_rate must be a number > 0, not 'Infinity'",
    "--learning_rate 1e400": "--learning_rate must be a number > 0, not '1e400'",
    "--clip 1.01": "--clip must be a number ≥ 0 and ≤ 1, not '1.01'",
    "--algorithm pp": "--algorithm must be one of 'ppo', 'grpo', not 'pp'",
    "--layers 3": "--layers must be a list of an integer ≥ 1, not '3'",
    "--layers [3,0]": "--layers must be a list of an integer ≥ 1, not '[3,0]'",
    "--span [1]": "--span must be a list [a number, a number], not '[1]'",
    "--amp=maybe": "--amp must be true or false, not 'maybe'",
    "--max_usd lots": "--max_usd must be a number ≥ 0, not 'lots'",
    "--prices.gpt lots": "--prices.gpt must be a table of a number, not 'lots'",
    "--run.keep 1": "--run.keep must be an integer ≥ 2, not '1'",
    "--run.logger wandbb": "--run.logger must be one of 'none', 'wandb', not 'wandbb'",
    "--run.name ../x": "run.name must be letters",
    "--env e\udcff": "--env must be text, not 'e\\udcff'",
    "stray": "unexpected argument 'stray'; a value needs its --flag",
    "--algorithm grpo --clip 0": "clip must be > 0 with algorithm 'grpo'",
    "--config nowhere.toml": "nowhere.toml: no such file",
    "--config /proc/self": "/proc/self: no such file",
}

BAD_FILES = {
    b"learning_rte = 1": "unknown key 'learning_rte'; did you mean 'learning_rate'? (line 1)",
    b"a = 1": "unknown key 'a'; --help lists the valid names (line 1)",
    b"root = 'x'": "unknown key 'root'; did you mean 'run.root'? (line 1)",
    b"\n[run]\nrot = 'x'": "unknown key 'run.rot'; did you mean 'run.root'? (line 3)",
    b"[run]\nseed = 3": "unknown key 'run.seed'; did you mean 'seed'? (line 2)",
    b"[rum]\nroot = 'x'": "unknown key 'rum'",
    b"run = 3": "'run' must be a table [run] (line 1)",
    b"[[run]]\nroot = 'x'": "'run' must be a table [run] (line 1)",
    b"steps = '3'": "'steps' must be an integer \u2265 1, not '3' (line 1)",
    b"steps = 3.0": "'steps' must be an integer \u2265 1, not 3.0 (line 1)",
    b"steps = true": "'steps' must be an integer \u2265 1, not True (line 1)",
    b"env = 3": "'env' must be text, not 3 (line 1)",
    b"amp = 1": "'amp' must be true or false, not 1 (line 1)",
    b"seed = 1\nlearning_rate = nan": "'learning_rate' must be a number > 0, not nan (line 2)",
    b"learning_rate = inf": "'learning_rate' must be a number > 0, not inf (line 1)",
    b"learning_rate = 1e400": "'learning_rate' must be a number > 0, not inf (line 1)",
    b"learning_rate = -1": "'learning_rate' must be a number > 0, not -1 (line 1)",
    b"layers = [3, 'a']": "'layers' must be a list of an integer \u2265 1, not [3, 'a'] (line 1)",
    b"prices = {gpt = 'x'}": "'prices' must be a table of a number, not {'gpt': 'x'} (line 1)",
    b"[prices]\ngpt = nan": "'prices' must be a table of a number, not {'gpt': nan} (line 1)",
    b"note = 1979-05-27": "'note' must be text, not datetime.date(1979, 5, 27) (line 1)",
    b"run = {keep = 1}": "'run.keep' must be an integer \u2265 2, not 1",
    b"steps = ": "not valid TOML: Invalid value (at line 1, column 9)",
    b"steps = 1\nsteps = 2": "not valid TOML: Cannot overwrite a value (at line 2, column 10)",
    b"\xef\xbb\xbfsteps = 1": "starts with a byte order mark; save it as UTF-8 without (line 1)",
    b"steps = 1\nenv = '\xff'": "not UTF-8 (line 2)",
    b"steps: 1": "not valid TOML",
    b"layers = " + b"[" * 100_000: "not valid TOML",
    b"env = '" + b"x" * (1 << 20) + b"'": "larger than 1048576 bytes, not a configuration",
    b"steps = " + b"9" * 5000: "not valid TOML",
    b"algorithm = 'grpo'\nclip = 0": "clip must be > 0 with algorithm 'grpo'",
    b"x = !!python/object:os.system": "not valid TOML",
}


def _message(args: list[str], config: type = ToyConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        load(config, args)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


@pytest.mark.parametrize(("flags", "expected"), BAD_FLAGS.items())
def test_bad_flags(flags: str, expected: str) -> None:
    assert _message(flags.split(" ")).startswith(expected)


@pytest.mark.parametrize(("text", "expected"), BAD_FILES.items(), ids=range(len(BAD_FILES)))
def test_bad_files(tmp_path: Path, text: bytes, expected: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(text)
    assert _message(["--config", str(path)]).startswith(f"{path}: {expected}")


def test_a_misspelt_file_name_finds_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "gsm8k.toml").write_text("")
    wanted = tmp_path / "gsm8.toml"
    assert _message(["--config", str(wanted)]).endswith(f"did you mean '{tmp_path}/gsm8k.toml'?")


def test_precedence(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("steps = 7\n[run]\nroot = 'file'\n")
    assert load(ToyConfig, []) == ToyConfig()
    debug = load(ToyConfig, ["--debug"])
    assert (debug.steps, debug.run.checkpoint_every) == (2, 1)
    filed = load(ToyConfig, ["--debug", "--config", str(path)])
    assert (filed.steps, filed.run.checkpoint_every, filed.run.root) == (7, 1, "file")
    flagged = load(ToyConfig, ["--steps", "9", "--config", str(path), "--debug"])
    assert (flagged.steps, flagged.run.root) == (9, "file")


def test_a_configuration_in_a_configuration(tmp_path: Path) -> None:
    config = load(OuterConfig, ["--inner.run.root", "x"])
    assert config.inner == ToyConfig(clip=0.5, run=RunConfig(keep=4, root="x"))
    debug = load(OuterConfig, ["--debug"])
    assert (debug.seeds, debug.inner.seed, debug.inner.steps) == ((0,), 9, 2)
    path = tmp_path / "x.toml"
    path.write_text(dump(debug))
    assert load(OuterConfig, ["--config", str(path)]) == debug
    message = _message(["--inner.algorithm", "grpo", "--inner.clip", "0"], OuterConfig)
    assert message == "clip must be > 0 with algorithm 'grpo'"


def test_flags_of_every_type() -> None:
    flags = "--layers [1,2] --span [-1,0.5] --prices.a 1 --prices.b=2.5 --amp --learning_rate .5"
    flags += " --note null --max_usd -0 --run.name 3 --run.progress false"
    config = load(ToyConfig, flags.split())
    expected = ToyConfig(
        layers=(1, 2), span=(-1.0, 0.5), prices={"a": 1.0, "b": 2.5}, amp=True, learning_rate=0.5,
        max_usd=-0.0, run=RunConfig(name="3", progress=False),
    )  # fmt: skip
    assert config == expected
    assert isinstance(config.span[0], float)


def test_positional_arguments() -> None:
    assert load(FileConfig, ["gsm8k", "a", "--out", "o", "b"]) == FileConfig(
        "gsm8k", ("a", "b"), "o"
    )
    assert _message([], FileConfig) == "--task is missing (text)"


def test_help_comes_from_the_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        load(ToyConfig, ["--help"], prog="understudy toy train")
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: understudy toy train" in text
    for words in ("Trains a toy.", "100 % of them. [an integer ≥ 1; default 100]", "--config"):
        assert words in text
    for path, leaf in leaves(ToyConfig).items():
        assert f"--{path} " in text
        assert leaf.doc
        assert leaf.doc in text


@dataclass(frozen=True)
class _Ambiguous:
    """None could not be told from the default."""

    limit: int | None = 3


@dataclass(frozen=True)
class _Unsupported:
    """A list is mutable."""

    items: list[int]


@pytest.mark.parametrize("cls", [_Ambiguous, _Unsupported])
def test_a_class_that_toml_cannot_hold_is_refused(cls: type) -> None:
    with pytest.raises(TypeError):
        load(cls, [])


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CONFIGS = st.builds(
    ToyConfig,
    env=TEXT,
    steps=st.integers(min_value=1),
    learning_rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    clip=st.floats(min_value=0, max_value=1),
    algorithm=st.just("ppo"),
    layers=st.lists(st.integers(1, 10**30), max_size=4).map(tuple),
    span=st.tuples(FLOATS, FLOATS),
    prices=st.dictionaries(TEXT, FLOATS, max_size=3),
    amp=st.booleans(),
    note=st.none() | TEXT,
    max_usd=st.none() | st.floats(min_value=0, allow_infinity=False),
    run=st.builds(RunConfig, root=TEXT, resume=st.none() | TEXT, keep=st.integers(min_value=2)),
)


@given(config=CONFIGS)
@example(
    config=ToyConfig(env="\x7f\x00\t\r\n\x1b\"\\'\u2028 #=", prices={"a.b = \n": -0.0, "": 5e-324})
)
def test_round_trip(config: ToyConfig, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_bytes(dump(config).encode())
    again = load(ToyConfig, ["--config", str(path)])
    assert again == config
    assert repr(again) == repr(config)  # tells -0.0 from 0.0


@given(text=TEXT)
def test_text_in_a_flag_is_taken_as_it_is(text: str) -> None:
    assert load(ToyConfig, ["--env", text]).env == text
    if text != "null":
        assert load(ToyConfig, [f"--note={text}"]).note == text


@given(
    st.lists(st.sampled_from(["--steps", "--note=", "--run", "=", "--", "-h-", "[", "1", "--a="]))
)
def test_no_arguments_bring_a_traceback(args: list[str]) -> None:
    message = ""
    try:
        config = load(ToyConfig, args)
    except ConfigError as error:
        message = str(error)
    else:
        assert replace(config, steps=100, note=None) == ToyConfig()
    assert "\n" not in message
