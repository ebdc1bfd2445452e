import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, Field

from understudy.lm import open as opening
from understudy.lm.base import (
    ChatLM,
    ChoiceLM,
    Choices,
    LMError,
    Regex,
    Request,
    Sampling,
    TrainableLM,
    Unparsed,
)
from understudy.lm.check import check_lm
from understudy.lm.endpoint import EndpointLM
from understudy.lm.fake import tiny_model
from understudy.lm.open import open_lm, open_token_lm
from understudy.lm.spec import FORMS, LMSpec, parse_spec
from understudy.types import Message


class Pair(BaseModel):
    left: int = Field(ge=0, le=9)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("pocket", LMSpec("pocket")),
        ("hf:Qwen/Qwen3-0.6B", LMSpec("hf", "Qwen/Qwen3-0.6B")),
        ("hf:gpt2@v1.0", LMSpec("hf", "gpt2", revision="v1.0")),
        ("hf:a/b@refs/pr/1+adapter=out/x", LMSpec("hf", "a/b", "refs/pr/1", "out/x")),
        ("hf:./run@3+adapter=/t/a+b", LMSpec("hf", "./run@3", adapter="/t/a+b")),
        ("openai:gpt-4o-mini", LMSpec("openai", "gpt-4o-mini")),
        ("openai:ft:gpt-4o:me::x", LMSpec("openai", "ft:gpt-4o:me::x")),
        ("http://localhost:8000/v1#m", LMSpec("http", "m", url="http://localhost:8000/v1")),
        ("https://h/v1/#a/b#c", LMSpec("http", "a/b#c", url="https://h/v1")),
        ("http://[::1]:80/v1#llama3:8b", LMSpec("http", "llama3:8b", url="http://[::1]:80/v1")),
        ("vllm:a/b", LMSpec("vllm", "a/b")),
        ("replay:old/cache.sqlite", LMSpec("replay", file="old/cache.sqlite")),
        ("replay:f#http://h/v1#m", LMSpec("replay", "http://h/v1#m", file="f")),
    ],
)
def test_strings_that_name_a_model(text, spec):
    found = parse_spec(text)
    for part in ("kind", "name", "revision", "url", "adapter", "file"):
        wanted = getattr(spec, part)
        got = getattr(found, part)
        assert (str(got) if part in ("adapter", "file") and got else got) == wanted


BAD = [
    ("", "known forms: pocket, hf:NAME"),
    (" pocket", "white space"),
    ("pocket\n", "control characters"),
    ("poket", "did you mean pocket"),
    ("Pocket", "did you mean pocket"),
    ("pocket:big", "did you mean pocket"),
    ("hf", "nothing after 'hf'"),
    ("hf:", "nothing after 'hf'"),
    ("hf:@main", "no model is named"),
    ("hf:a/b@", "'' is no revision"),
    ("hf:a/b@x y", "'x y' is no revision"),
    ("hf:a/b/c", "neither a folder nor a name"),
    ("hf:a/b+adapter=", "no path after"),
    ("hf:a/b+adaptor=x", "unknown option 'adaptor'"),
    ("HF:a/b", "did you mean hf:NAME"),
    ("hg:a/b", "did you mean hf:NAME"),
    ("Qwen/Qwen3-0.6B", "did you mean hf:Qwen/Qwen3-0.6B"),
    ("gpt-4o-mini", "known forms"),
    ("openai", "nothing after 'openai'"),
    ("openai:", "write openai:MODEL"),
    ("opnai:gpt-4o", "did you mean openai:MODEL"),
    ("openai:gpt 4o", "has no space"),
    ("http://localhost:8000/v1", "no #MODEL at the end"),
    ("http://localhost:8000/v1#", "no #MODEL at the end"),
    ("http://#m", "no host"),
    ("http:localhost/v1#m", "no host"),
    ("http://localhost:99999/v1#m", "bad port"),
    ("http://localhost:x/v1#m", "bad port"),
    ("http://h/v1?k=v#m", "no query"),
    ("htp://h/v1#m", "did you mean http://HOST"),
    ("vlm:a/b", "did you mean vllm:NAME"),
    ("replay:", "nothing after 'replay'"),
    ("replay:#m", "no file"),
    ("reply:file", "did you mean replay:FILE"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_malformed_string_is_one_line_and_nothing_is_opened(text, message, tmp_path, monkeypatch):
    def never(*args, **options):
        raise AssertionError("opened")

    for name in ("Cache", "EndpointLM", "VllmChat", "open_replay"):
        monkeypatch.setattr(opening, name, never)
    monkeypatch.setattr(opening.LocalLM, "load", never)
    for opener in (open_lm, open_token_lm):
        with pytest.raises(LMError) as error:
            opener(text)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_key_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(LMError, match="keys come from the environment") as error:
        parse_spec("https://me:sk-secret@host/v1#m")
    assert "secret" not in str(error.value)


def test_every_form_is_suggested_by_its_own_typo():
    for head in set(FORMS) - {"http", "https", "pocket"}:
        with pytest.raises(LMError, match=f"did you mean {head}"):
            parse_spec(f"{head}x:y")


def test_reading_a_string_loads_nothing_heavy():
    code = (
        "import sys; from understudy.lm.spec import parse_spec; parse_spec('hf:a/b');"
        "print([m for m in ('torch', 'transformers', 'openai', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "text", ["openai:gpt-4o", "http://localhost:1/v1#m", "vllm:a/b", "replay:nothing"]
)
def test_training_needs_weights(text):
    with pytest.raises(LMError, match=r"training needs weights, and .* gives none") as error:
        open_token_lm(text)
    assert text in str(error.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tiny_model().save(path)
    return path


def request(text="Hello?", **options):
    return Request((Message("user", text),), Sampling(max_tokens=8), **options)


def test_a_folder_opens_for_training(folder):
    lm = open_token_lm(f"hf:{folder}")
    assert isinstance(lm, TrainableLM)
    text = lm.encode("Hello")
    assert torch.equal(lm.logprobs([text], [[text]]), tiny_model().logprobs([text], [[text]]))
    thin = open_token_lm(f"hf:{folder}", lora_rank=2, dtype=torch.float64)
    trained = list(thin.parameters())
    assert {p.dtype for p in trained} == {torch.float64}
    assert sum(p.numel() for p in trained) < sum(p.numel() for p in lm.parameters()) / 3


def test_a_folder_opens_as_a_chat_that_is_recorded_and_replayed(folder, tmp_path):
    lm = open_lm(f"hf:{folder}", run_folder=tmp_path)
    assert isinstance(lm, ChoiceLM)
    asked = [request(), request(schema=Choices(("left", "right")))]
    first = lm.chat(asked)
    assert first[1].value in ("left", "right")
    assert [r.usage.calls for r in first] == [1, 1]
    again = open_lm(f"hf:{folder}", run_folder=tmp_path).chat(asked)
    assert [r.usage.cached_calls for r in again] == [1, 1]
    replay = open_lm(f"replay:{tmp_path / 'lm' / 'cache.sqlite'}")
    assert [r.text for r in replay.chat(asked)] == [r.text for r in first]
    with pytest.raises(LMError, match="no recorded answer to 'Other'"):
        replay.chat([request("Other")])


def test_the_name_tells_weights_apart(tmp_path):
    names = []
    for seed in (0, 1, 0):  # a checkpoint is often written over the one before
        tiny_model(seed=seed).save(tmp_path)
        names.append(open_lm(f"hf:{tmp_path}").name)
    assert names[0] == names[2] != names[1]
    assert all(name.startswith(f"hf:{tmp_path}@") for name in names)


def test_an_adapter_is_put_on_and_named(folder, tmp_path):
    lm = open_token_lm(f"hf:{folder}", lora_rank=2)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter += 0.3
    lm.save_adapter(tmp_path)
    plain, adapted = (open_lm(f"hf:{folder}{end}") for end in ("", f"+adapter={tmp_path}"))
    assert adapted.name.startswith(f"{plain.name}+adapter=")
    (first,), (second,) = plain.chat([request()]), adapted.chat([request()])
    assert first.text != second.text


def test_a_revision_is_asked_for(monkeypatch):
    def load(name, **options):
        raise LMError(f"{name} {options['revision']}")

    monkeypatch.setattr(opening.LocalLM, "load", load)
    for opener in (open_lm, open_token_lm):
        with pytest.raises(LMError, match=r"^org/name v7$"):
            opener("hf:org/name@v7")


def test_a_cap_on_tokens_holds_for_a_local_model(folder):
    with pytest.raises(LMError, match="max-tokens"):
        open_lm(f"hf:{folder}", max_tokens=10).chat([request()])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hf:./nowhere", "no model folder ./nowhere"),
        ("replay:./nowhere", "no such recording"),
        ("openai:gpt-4o", "OPENAI_API_KEY"),
    ],
)
def test_what_is_not_there_is_one_clear_line(text, message, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LMError, match=message) as error:
        open_lm(text)
    assert "\n" not in str(error.value)


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A folder that stands for the installed package."""
    shutil.copy(Path(opening.__file__).with_name("prices.toml"), tmp_path)
    monkeypatch.setattr(opening.resources, "files", lambda package: tmp_path)
    return tmp_path


def test_a_missing_bundled_model_is_one_clear_line(package):
    for opener in (open_lm, open_token_lm):
        with pytest.raises(LMError, match="bundled model is missing"):
            opener("pocket")


def test_the_bundled_model_is_a_folder_of_the_package(package):
    tiny_model().save(package / "pocket")
    assert isinstance(open_token_lm("pocket"), TrainableLM)
    assert open_lm("pocket").name.startswith("pocket@")


def test_an_address_opens_without_a_call(tmp_path):
    with open_lm("http://localhost:1/v1#m", run_folder=tmp_path, max_tokens=5) as lm:
        assert isinstance(lm, EndpointLM)
        assert isinstance(lm, ChatLM)
        assert lm.name == "http://localhost:1/v1#m"
        assert lm.ledger.max_tokens == 5
        assert lm.cache.path == tmp_path / "lm" / "cache.sqlite"


def test_vllm_without_vllm_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(LMError, match=r"understudy\[vllm\]"):
        open_lm("vllm:a/b")


class FakeVllm(types.ModuleType):
    """Takes the calls that vLLM's Python interface takes, and keeps them."""

    def __init__(self):
        super().__init__("vllm")
        self.asked = []
        self.SamplingParams = lambda **options: options
        self.sampling_params = types.SimpleNamespace(StructuredOutputsParams=dict)
        self.LLM = self.make

    def make(self, *, model, trust_remote_code, structured_outputs_config):
        assert (model, trust_remote_code) == ("a/b", False)
        assert structured_outputs_config["disable_any_whitespace"]
        return types.SimpleNamespace(chat=self.chat)

    def chat(self, conversations, *, sampling_params, use_tqdm):
        self.asked += zip(conversations, sampling_params, strict=True)
        answers = [f"answer {i}" for i in range(len(conversations))]
        return [
            types.SimpleNamespace(
                prompt_token_ids=[1, 2, 3],
                outputs=[types.SimpleNamespace(text=a, token_ids=[4, 5], finish_reason="stop")],
            )
            for a in answers
        ]


def test_vllm_gets_messages_sampling_and_form(monkeypatch):
    fake = FakeVllm()
    monkeypatch.setitem(sys.modules, "vllm", fake)
    lm = open_lm("vllm:a/b")
    forms = (None, Choices(("answer 1", "b")), Regex("x+"), Pair)
    replies = lm.chat([request(f"Q{i}", schema=form) for i, form in enumerate(forms)])
    assert [r.text for r in replies] == [f"answer {i}" for i in range(4)]
    assert replies[1].value == "answer 1"
    assert isinstance(replies[2].value, Unparsed)
    assert (replies[0].usage.prompt_tokens, replies[0].usage.completion_tokens) == (3, 2)
    assert fake.asked[0][0] == [{"role": "user", "content": "Q0"}]
    sampling = [params for _, params in fake.asked]
    assert sampling[0]["max_tokens"] == 8
    asked = [params["structured_outputs"] for params in sampling]
    assert asked[:3] == [None, {"choice": ["answer 1", "b"]}, {"regex": "x+"}]
    assert asked[3]["json"]["properties"]["left"] == {"type": "integer", "minimum": 0, "maximum": 9}
    lm.chat([request("Q0", sample_index=1)])
    assert fake.asked[4][1]["seed"] != sampling[0]["seed"]


def test_the_bundled_model_keeps_its_promises():
    with opening.opened("pocket") as lm:
        assert check_lm(lm).problems == ()
